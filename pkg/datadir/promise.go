package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Promise is the file of the highest attempt to which a process on this volume
// has agreed. It is written before the agreement is made known, so that a later
// process knows of an attempt that may have been used, also when the API has
// lost its memory of it.
func (v Volume) Promise() string { return filepath.Join(v.Berth(), "promise") }

// ReadPromise gives the attempt; 0 when nobody has agreed to one. A promise that
// cannot be understood is an error.
func ReadPromise(path string) (int64, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read promise: %w", err)
	}
	attempt, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
	if err != nil || attempt < 1 {
		return 0, fmt.Errorf("%s: %q is not the number of an attempt", path, content)
	}
	return attempt, nil
}

// WritePromise replaces the promise durably, unless a higher one is there.
func WritePromise(path string, attempt int64) error {
	kept, err := ReadPromise(path)
	if err != nil || kept >= attempt {
		return err
	}
	return WriteFile(path, []byte(strconv.FormatInt(attempt, 10)+"\n"), 0o660)
}
