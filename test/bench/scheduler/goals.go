package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-dev/berth/test/figures"
)

// large is the size of cluster for which issue 6 says how much faster ours must be.
const large = 5000

// goal is what a figure of a row has to reach.
type goal struct {
	figure string
	limit  float64
	most   bool // the limit is the most it may be, not the least
}

func atLeast(figure string, limit float64) goal { return goal{figure: figure, limit: limit} }
func atMost(figure string, limit float64) goal  { return goal{figure, limit, true} }

func (g goal) String() string {
	if g.most {
		return fmt.Sprintf("%s <= %g", g.figure, g.limit)
	}
	return fmt.Sprintf("%s >= %g", g.figure, g.limit)
}

func (g goal) metBy(value float64) bool {
	if g.most {
		return value <= g.limit
	}
	return value >= g.limit
}

// judged appends to a row what its figures have to reach, and whether they do.
func judged(row []figures.Figure, goals ...goal) []figures.Figure {
	if len(goals) == 0 {
		return row
	}
	texts, met := make([]string, len(goals)), true
	for i, g := range goals {
		texts[i] = g.String()
		value, found := number(row, g.figure)
		met = met && found && g.metBy(value)
	}
	return append(row, figures.F("goal", strings.Join(texts, ", ")), figures.F("met", met))
}

func number(row []figures.Figure, name string) (value float64, found bool) {
	for _, f := range row {
		if f.Name == name {
			value, found = f.Value.(float64)
			return value, found
		}
	}
	return 0, false
}

// missed names the rows that do not reach their goals.
func missed(report figures.Report) error {
	var problems []error
	for _, row := range report.Rows {
		var goal string
		met := true
		for _, f := range row.Figures {
			switch f.Name {
			case "goal":
				goal, _ = f.Value.(string)
			case "met":
				met, _ = f.Value.(bool)
			}
		}
		if !met {
			problems = append(problems, fmt.Errorf("%s: missed %s", row.Case, goal))
		}
	}
	return errors.Join(problems...)
}
