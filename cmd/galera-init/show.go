package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// Verdicts that a script may want to act on, told by the exit code.
var (
	errWaits   = errors.New("the members wait")
	errRefuses = errors.New("the members refuse to start the cluster")
)

// show prints a state and its verdict. The error is for the exit code.
func show(out io.Writer, c rebuild.Cluster, output string) error {
	v := rebuild.Review(c)
	if output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(struct {
			Namespace string          `json:"namespace"`
			Cluster   string          `json:"cluster"`
			Verdict   rebuild.Verdict `json:"verdict"`
			Status    rebuild.Cluster `json:"status"`
		}{c.Namespace, c.Name, v, c}); err != nil {
			return err
		}
	} else {
		printMembers(out, c, time.Now())
		printFindings(out, c)
		printVerdict(out, c, v)
	}
	switch v.Action {
	case rebuild.Wait:
		return fmt.Errorf("%w (%s)", errWaits, v.Reason.Code)
	case rebuild.Refuse:
		return fmt.Errorf("%w (%s)", errRefuses, v.Reason.Code)
	}
	return nil
}

func printMembers(out io.Writer, c rebuild.Cluster, now time.Time) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"Member", "Node", "State", "Class", "Position", "Observed", "Last seen", "Data"})
	uuid := commonUUID(c)
	for _, ordinal := range ordinals(c) {
		r, found := c.Member(ordinal)
		if !found {
			t.AppendRow(table.Row{fmt.Sprintf("%s-%d", c.Name, ordinal), "?", "not reported", "?", "?", "?", "never", "?"})
			continue
		}
		name := r.Pod
		if !c.IsExpected(ordinal) {
			name += " (beyond the replicas)"
		}
		t.AppendRow(table.Row{name, r.Node, r.State, r.Class, positionOf(r.Position, uuid), observedOf(*r, uuid), age(r.Seen, now), dataOf(*r)})
	}
	fmt.Fprintln(out, t.Render())
	if uuid != "" {
		fmt.Fprintf(out, "Positions are of history %s.\n", uuid)
	}
}

// ordinals are those of all members that are expected or have reported.
func ordinals(c rebuild.Cluster) []int {
	all := c.Expected()
	for _, r := range c.Members {
		if !c.IsExpected(r.Ordinal) {
			all = append(all, r.Ordinal)
		}
	}
	return slices.Sorted(slices.Values(all))
}

// commonUUID is the history that all members know; empty when they differ, and
// positions are then printed in full.
func commonUUID(c rebuild.Cluster) string {
	uuid := ""
	for _, r := range c.Members {
		for _, p := range []*datadir.Position{&r.Position, r.Observed} {
			if p == nil || !p.KnowsHistory() {
				continue
			}
			if uuid != "" && p.UUID != uuid {
				return ""
			}
			uuid = p.UUID
		}
	}
	return uuid
}

func positionOf(p datadir.Position, uuid string) string {
	switch {
	case !p.KnowsHistory():
		return "none"
	case p.UUID == uuid:
		return strconv.FormatInt(p.Seqno, 10)
	}
	return p.String()
}

func observedOf(r rebuild.Report, uuid string) string {
	if r.Observed == nil {
		return "-"
	}
	return positionOf(*r.Observed, uuid)
}

// age says how long ago the member's clock wrote a time; nobody decides on it.
func age(seen string, now time.Time) string {
	then, err := time.Parse(time.RFC3339, seen)
	if err != nil {
		return "?"
	}
	return now.Sub(then).Round(time.Second).String() + " ago"
}

// dataOf is what the check of the pages said.
func dataOf(r rebuild.Report) string {
	if r.Check.Level == "" {
		return "not looked at"
	}
	text := fmt.Sprintf("%s (%s", r.Check.Verdict, r.Check.Level)
	if r.Check.Pages > 0 {
		text += fmt.Sprintf(", %d pages", r.Check.Pages)
	}
	if r.Check.NotVerified > 0 {
		text += fmt.Sprintf(", %d of them not verified", r.Check.NotVerified)
	}
	return text + ")"
}

func printFindings(out io.Writer, c rebuild.Cluster) {
	for _, r := range c.Members {
		for _, f := range r.Findings {
			fmt.Fprintf(out, "%s: %s\n", r.Pod, f)
		}
		for _, note := range r.Evidence.Notes {
			fmt.Fprintf(out, "%s: %s\n", r.Pod, note)
		}
	}
}

func printVerdict(out io.Writer, c rebuild.Cluster, v rebuild.Verdict) {
	if g, found := c.LastGrant(); found {
		done := "not used yet"
		if g.Consumed {
			done = "used"
		}
		fmt.Fprintf(out, "Last grant: attempt %d to %s at %s, decided by %s, %s\n", g.Attempt, g.Pod, g.Position, g.Rule, done)
	}
	fmt.Fprintf(out, "Verdict: %s: %s (%s)\n", v.Action, v.Reason.Text, v.Reason.Code)
	if v.Rule != "" {
		fmt.Fprintf(out, "Rule: %s\n", v.Rule)
	}
	if len(v.Without) > 0 {
		fmt.Fprintf(out, "Goes on without: member %s, because of %s\n", strings.Trim(fmt.Sprint(v.Without), "[]"), v.Proof)
	}
	if v.Reason.Unblock != "" {
		fmt.Fprintf(out, "What unblocks it: %s\n", v.Reason.Unblock)
	}
	for _, note := range v.Notes {
		fmt.Fprintf(out, "Note: %s\n", note)
	}
}
