package lvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ReadDevice is a command that every Runner knows beside the machine's programs:
// "read-device DEVICE BYTES" returns the first bytes of a device, or all when it is
// shorter, as they are on the disk, past the page cache. Exec reads in this process, for
// the start of a program that reads (dd) takes ten times as long as the read.
const ReadDevice = "read-device"

// reading are the devices whose read has not come back. One that hangs cannot be ended:
// it keeps its thread and its memory until the device answers, so there is no second one.
var reading sync.Map

// chunk of a read, in bytes, and the alignment of memory that no disk exceeds.
const chunk, alignment = 1 << 20, 4096

func (e Exec) readDevice(ctx context.Context, site string, args []string) ([]byte, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("%s: %s takes a device and a number of bytes, not %q", site, ReadDevice, args)
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n <= 0 || n%alignment != 0 {
		return nil, fmt.Errorf("%s: %s of %q bytes: use a multiple of %d", site, ReadDevice, args[1], alignment)
	}
	type read struct {
		head []byte
		err  error
	}
	if since, hangs := reading.LoadOrStore(args[0], time.Now()); hangs {
		return nil, fmt.Errorf("%s: %s %s: %w: a read that began %s has not come back: look for the disk in the kernel's log (dmesg); it is read again when that one has ended",
			site, ReadDevice, args[0], ErrUnknown, since.(time.Time).Format(time.RFC3339))
	}
	done := make(chan read, 1)
	go func() {
		head, err := readDirect(args[0], n)
		reading.Delete(args[0])
		done <- read{head, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, NewError(site, ReadDevice, args, 1, r.err.Error())
		}
		return r.head, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: %s %s: %w: %w", site, ReadDevice, args[0], ErrUnknown, ctx.Err())
	}
}

func readDirect(device string, n int) ([]byte, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buffer := make([]byte, min(n, chunk)+alignment)
	skip := -int(uintptr(unsafe.Pointer(&buffer[0]))) & (alignment - 1)
	buffer = buffer[skip : skip+min(n, chunk)]
	var head []byte
	for len(head) < n {
		got, err := f.Read(buffer[:min(n-len(head), chunk)])
		head = append(head, buffer[:got]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return head, nil
}
