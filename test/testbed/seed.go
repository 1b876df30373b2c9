package testbed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// seedDisk returns a state disk on which all images of the build are imported
// already, and makes it when the images are not those it was made for: a node of
// a bed of its own boots, imports and is shut down. Importing takes a node most of
// a minute; a copy of the disk takes seconds.
func (b *Bed) seedDisk(ctx context.Context) (string, error) {
	digest := sha256.New()
	for _, recipe := range imageRecipes {
		info, err := os.Stat(recipe.file(b.Paths))
		if err != nil {
			return "", fmt.Errorf("find image: %w (run `make bed-build`)", err)
		}
		fmt.Fprintln(digest, recipe.reference, info.Size(), info.ModTime().UnixNano())
	}
	cache := filepath.Dir(b.Paths.RootFS)
	seed := filepath.Join(cache, fmt.Sprintf("seed-%x.img", digest.Sum(nil)[:6]))
	if _, err := os.Stat(seed); err == nil {
		return seed, nil
	}
	b.logf("importing the container images once, on a node of their own")
	if err := b.makeSeed(ctx, seed); err != nil {
		return "", fmt.Errorf("import container images: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(cache, "seed-*.img"))
	if err != nil {
		return "", err
	}
	for _, file := range old {
		if file != seed {
			if err := os.Remove(file); err != nil {
				return "", err
			}
		}
	}
	return seed, nil
}

func (b *Bed) makeSeed(ctx context.Context, seed string) (err error) {
	maker := &Bed{Dir: b.Dir + "-seed", Paths: b.Paths}
	if err := maker.Down(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, maker.Down(context.WithoutCancel(ctx))) }()
	config := Config{Nodes: 1, Disks: 1, DiskGB: 1}.withDefaults()
	if err := maker.makeSkeleton(ctx, config); err != nil {
		return err
	}
	const node = "node1"
	if err := maker.makeDisks(config, node, ""); err != nil {
		return err
	}
	if err := maker.PowerOn(ctx, node); err != nil {
		return err
	}
	if err := maker.WaitBooted(ctx, node); err != nil {
		return err
	}
	for {
		if _, err := maker.Exec(ctx, node, "ctr", "version"); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	if err := maker.LoadImages(ctx, node); err != nil {
		return err
	}
	if _, err := maker.Exec(ctx, node, "sh", "-c", "pkill -x kubelet; pkill -x containerd; sleep 1; sync; echo u >/proc/sysrq-trigger; sync"); err != nil {
		return err
	}
	if err := maker.PowerOff(node); err != nil {
		return err
	}
	return os.Rename(maker.disk(node, 0), seed)
}

// copySparse copies a file and leaves holes where the original has them.
func copySparse(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = copyData(source, target)
	return errors.Join(err, target.Close())
}

func copyData(source, target *os.File) error {
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := target.Truncate(info.Size()); err != nil {
		return err
	}
	for offset := int64(0); offset < info.Size(); {
		data, err := source.Seek(offset, seekData)
		if err != nil {
			return nil // ENXIO: nothing but a hole up to the end
		}
		hole, err := source.Seek(data, seekHole)
		if err != nil {
			return err
		}
		if _, err := source.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := target.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.CopyN(target, source, hole-data); err != nil {
			return err
		}
		offset = hole
	}
	return nil
}

// lseek(2), Linux.
const (
	seekData = 3
	seekHole = 4
)
