package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/berth-dev/berth/test/corpus"
)

// options are those of all sub-commands.
type options struct {
	out  string
	jobs int
	seed uint64
}

func root() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "corpus",
		Short: "Real data directories: made, killed, damaged and judged",
		Long: `corpus runs real servers (as user mysql, each in a network of its own; it needs root) and makes
data directories in every format of InnoDB. Its sub-commands set galera-init's verifier against
them and compare what it says with what innochecksum and the server itself say. Every choice
comes from --seed.`,
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.out, "out", "_out", "where figures (NAME.json) and directories (corpus/) go")
	flags.IntVar(&o.jobs, "jobs", 2, "how many servers run at a time")
	flags.Uint64Var(&o.seed, "seed", 1, "seed of all choices")
	cmd.AddCommand(makeCommand(&o), crashCommand(&o), corruptionCommand(&o), flipCommand(&o))
	return cmd
}

func (o *options) maker() (*corpus.Maker, error) {
	return corpus.NewMaker(filepath.Join(o.out, "corpus"))
}

// each runs do for 0 to n-1, as many at a time as there are jobs, and stops at the
// first error.
func (o *options) each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.jobs)
	for i := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return do(ctx, i)
		})
	}
	return group.Wait()
}

// progress counts things done, on a terminal only.
func progress(n int, what string) *progressbar.ProgressBar {
	info, err := os.Stderr.Stat()
	visible := err == nil && info.Mode()&os.ModeCharDevice != 0
	return progressbar.NewOptions(n, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what), progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}
