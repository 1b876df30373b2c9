// Package member brings one member from its volume to its place in the cluster:
// lock, evidence, recovery, report, verdict, hand-over, start.
package member
