// Package inventory tells which volume, promise and free space is where, as far
// as the API server says so: it gathers the facts that package placement decides
// on.
//
// It reads the shared informers' own stores through indexes and has no event
// handlers. A store is updated before any handler hears of the change, so a
// decision that an event has called for always sees what the event was about.
package inventory
