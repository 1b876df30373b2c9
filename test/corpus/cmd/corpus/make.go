package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/corpus"
	"github.com/berth-dev/berth/test/figures"
)

// made describes a directory of the corpus in corpus.json.
type made struct {
	Dir    string `json:"dir"`
	Format string `json:"format"`
	State  string `json:"state"` // clean, or the load under which the server was killed
	Rows   int    `json:"rows"`  // of each table
	Bytes  int64  `json:"bytes"`
}

func makeCommand(o *options) *cobra.Command {
	var formats []string
	var rows []int
	cmd := &cobra.Command{
		Use:   "make",
		Short: "Make directories in every format, clean and killed, in several sizes",
		Long: `make fills OUT/corpus: for every format and size a directory that was shut down in order, and one
whose server was killed under each kind of load in turn. corpus.json lists them. Each directory has the server's
configuration beside it (my.cnf).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return makeAll(cmd.Context(), o, formats, rows) },
	}
	cmd.Flags().StringSliceVar(&formats, "formats", corpus.Names(), "formats to make")
	cmd.Flags().IntSliceVar(&rows, "rows", []int{100, 3000}, "sizes: rows of each table; 1000 are about 3 MB")
	return cmd
}

func makeAll(ctx context.Context, o *options, names []string, rows []int) error {
	m, err := o.maker()
	if err != nil {
		return err
	}
	formats, err := corpus.Named(names...)
	if err != nil {
		return err
	}
	bar := progress(2*len(formats)*len(rows), "make")
	var mutex sync.Mutex
	var all []made
	err = o.each(ctx, len(formats)*len(rows), func(ctx context.Context, i int) error {
		format, size, shape := formats[i/len(rows)], rows[i%len(rows)], corpus.Shapes()[i%len(corpus.Shapes())]
		clean, err := m.Clean(ctx, format, fmt.Sprintf("%s-%d-clean", format.Name, size), size)
		if err != nil {
			return err
		}
		bar.Add(1)
		killed, _, err := m.Killed(ctx, corpus.Crash{Format: format, Shape: shape, Rows: size, After: time.Second, Flush: 1, Seed: o.seed},
			fmt.Sprintf("%s-%d-%s", format.Name, size, shape.Name))
		if err != nil {
			return err
		}
		bar.Add(1)
		mutex.Lock()
		defer mutex.Unlock()
		all = append(all, made{Dir: clean.Root, State: "clean", Format: format.Name, Rows: size}, made{Dir: killed.Root, State: shape.Name, Format: format.Name, Rows: size})
		return nil
	})
	if err != nil {
		return err
	}
	return list(m.Root, all)
}

// list prints what was made and keeps the list beside it.
func list(root string, all []made) error {
	report := figures.Report{Target: "corpus"}
	for i := range all {
		size, err := diskUsage(all[i].Dir)
		if err != nil {
			return err
		}
		all[i].Bytes = size
		if all[i].Dir, err = filepath.Rel(root, all[i].Dir); err != nil {
			return err
		}
		report.Add(all[i].Dir, figures.F("state", all[i].State), figures.F("rows", all[i].Rows), figures.F("bytes", size))
	}
	report.Print(os.Stdout)
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "corpus.json"), append(raw, '\n'), 0o644)
}

func diskUsage(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}
