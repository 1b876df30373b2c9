// Command bench-position measures how fast a position is read natively, beside
// the server's own recovery.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-dev/berth/test/bench/recovery"
	"github.com/berth-dev/berth/test/figures"
	"github.com/berth-dev/berth/test/program"
)

func main() {
	plan, out := recovery.DefaultPlan("_out/bench-position"), "_out"
	cmd := &cobra.Command{
		Use:   "bench-position",
		Short: "Measure how fast a position is read natively, beside mariadbd --wsrep-recover",
		Long: `bench-position makes data directories with a real server, kills it, and reads the position of
each natively and by mariadbd --wsrep-recover (on a copy), in turn. Answers that differ end the run.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report := figures.Report{Target: "bench-position"}
			if err := recovery.Measure(cmd.Context(), plan, &report); err != nil {
				return err
			}
			return report.Emit(os.Stdout, out)
		},
	}
	cmd.Flags().StringVar(&plan.Work, "work", plan.Work, "directory for the data directories, a few GB")
	cmd.Flags().IntSliceVar(&plan.Redo, "redo", plan.Redo, "megabytes of redo behind the checkpoint")
	cmd.Flags().IntVar(&plan.Rounds, "rounds", plan.Rounds, "rounds of each; the median counts")
	cmd.Flags().StringVar(&out, "out", out, "directory for bench-position.json")
	program.Main(cmd)
}
