// Package lvmtest plays a machine's storage in memory for tests: Disk answers
// the commands of packages lvm and filesystem, Recorder and Faults stack on any
// Runner.
package lvmtest
