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
// already. Importing them takes a node minutes, copying the disk takes seconds.
// When images have changed, a node of a bed of its own boots from the former seed
// and imports these.
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
	former, err := filepath.Glob(filepath.Join(cache, "seed-*.img"))
	if err != nil {
		return "", err
	}
	start := ""
	if len(former) > 0 {
		start = former[0]
	}
	if err := b.makeSeed(ctx, start, seed); err != nil {
		return "", fmt.Errorf("import container images: %w", err)
	}
	for _, file := range former {
		if err := os.Remove(file); err != nil {
			return "", err
		}
	}
	return seed, nil
}

// newerImages are the archives that a seed does not hold yet; all when there is
// no seed.
func (b *Bed) newerImages(seed string) ([]string, error) {
	var made time.Time
	if seed != "" {
		info, err := os.Stat(seed)
		if err != nil {
			return nil, err
		}
		made = info.ModTime()
	}
	var archives []string
	for _, recipe := range imageRecipes {
		info, err := os.Stat(recipe.file(b.Paths))
		if err != nil {
			return nil, err
		}
		if info.ModTime().After(made) {
			archives = append(archives, recipe.file(b.Paths))
		}
	}
	return archives, nil
}

func (b *Bed) makeSeed(ctx context.Context, start, seed string) (err error) {
	archives, err := b.newerImages(start)
	if err != nil {
		return err
	}
	b.logf("importing %d container images once, on a node of their own", len(archives))
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
	if err := maker.makeDisks(config, node, start); err != nil {
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
	for _, archive := range archives {
		if err := maker.LoadImage(ctx, node, archive); err != nil {
			return err
		}
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
