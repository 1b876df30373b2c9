package filesystem

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/berth-dev/berth/pkg/lvm"
)

// Wipe makes the content of a device unrecognisable: its signatures, or, when
// asked for, all blocks discarded, or length bytes from an offset zeroed.
func Wipe(ctx context.Context, run lvm.Runner, device string, discard, zero bool, from, length int64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var err error
	switch {
	case zero:
		// --zeroout has the kernel write zeros where the device has no command for it.
		_, err = run.Run(ctx, "wipe", "blkdiscard", "--force", "--zeroout", "--offset", strconv.FormatInt(from, 10), "--length", strconv.FormatInt(length, 10), device)
	case discard:
		_, err = run.Run(ctx, "wipe", "blkdiscard", "--force", device)
	default:
		_, err = run.Run(ctx, "wipe", "wipefs", "--all", device)
	}
	if err != nil {
		return fmt.Errorf("wipe %s: %w", device, err)
	}
	return nil
}
