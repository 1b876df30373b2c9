// Package e2e runs Berth end to end on the test bed, and breaks on purpose each
// property that the drill judges, to see the drill fail.
package e2e
