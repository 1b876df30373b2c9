// Package scheduling runs the scheduler's program, with the configuration that is
// shipped, against a real API server and the real controller that binds volumes,
// and plays the machines: one agent for all of them makes volumes, publishes what
// is left, and reserves released volumes again, each after a while.
//
// What the machines hold is the truth that the tests compare with: a volume group
// that was promised more than it has shows there and nowhere else.
package scheduling
