package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-dev/berth/pkg/innodb"
)

// shownFindings is how many findings the table has; --output json has all.
const shownFindings = 50

// printReport is a report for people: position, findings, what was looked at.
func printReport(out io.Writer, r innodb.Report) {
	if p := r.Position; p != nil {
		fmt.Fprintf(out, "Position: %s:%d (%s)", p.UUID, p.Seqno, p.Certainty)
		if p.Reason != "" {
			fmt.Fprintf(out, ": %s", p.Reason)
		}
		fmt.Fprintln(out)
	}
	if len(r.Findings) > 0 {
		findings := table.NewWriter()
		findings.SetStyle(table.StyleLight)
		findings.AppendHeader(table.Row{"Verdict", "Where", "Expected", "Found", "What to do"})
		findings.SetColumnConfigs([]table.ColumnConfig{
			column(2, 40), column(3, 32), column(4, 32), column(5, 40)})
		for i, f := range r.Findings {
			if i == shownFindings {
				break
			}
			findings.AppendRow(table.Row{f.Verdict, f.Place(), f.Expected, f.Found, f.Do})
		}
		fmt.Fprintln(out, findings.Render())
		if more := len(r.Findings) - shownFindings; more > 0 {
			fmt.Fprintf(out, "and %d findings more; --output json has all\n", more)
		}
	}
	fmt.Fprintf(out, "%s, level %s: %d files, %d pages, %s read; %d blank, %d bad, %d not verified\n", r.Dir, r.Level,
		r.Files, r.Pages, resource.NewQuantity(r.Bytes, resource.BinarySI), r.Blank, r.Bad, r.NotVerified)
	fmt.Fprintf(out, "Verdict: %s\n", r.Verdict)
}

// column is one that breaks its lines between words.
func column(number, width int) table.ColumnConfig {
	return table.ColumnConfig{Number: number, WidthMax: width, WidthMaxEnforcer: text.WrapSoft}
}

// progressOn is a progress bar when out is a terminal, else nil.
func progressOn(out io.Writer, what string) func(done, total int64) {
	file, isFile := out.(*os.File)
	if !isFile {
		return nil
	}
	if _, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS); err != nil {
		return nil
	}
	return progressBar(out, what)
}

// progressBar shows bytes, rate and time left.
func progressBar(out io.Writer, what string) func(done, total int64) {
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
		if bar == nil {
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
				progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true), progressbar.OptionShowCount(),
				progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(done)
	}
}
