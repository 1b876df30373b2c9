// Package inventory tells which volume, promise and free space is where, as far
// as the API server says so: it gathers the facts that package placement decides
// on.
//
// What a decision needs of a single object it reads from the shared informers'
// own stores. What it needs of all of them together, such as which nodes have not
// reported or what a volume group still owes, is kept in a ledger that costs as
// much as there were changes and not as much as there are nodes. The stores tell
// the ledger's journal of a change before any event handler hears of it, so a
// decision that an event has called for always sees what the event was about.
package inventory
