// Package rebuild decides how the members of a Galera cluster come back: who
// waits, who joins, who bootstraps, and what is refused.
//
// The decision is a pure function of the members' reports, and a grant is made,
// agreed to and consumed by pure transitions of the same state. Whoever keeps
// the state (package galeracluster) has to apply a transition by
// compare-and-swap, so that exactly one wins.
//
// Why a bootstrap happens exactly once and only while no server of the cluster
// runs (I6): a member reports after it has taken the lock of its volume, and
// loses the right to wait when it starts a server. A grant is consumed only
// when every expected member waits and has agreed to this very attempt after it
// was issued, and only a process that holds its lock and waits can agree. So a
// report that outlived its process, in an API server restored from an old
// snapshot for example, can make the cluster wait but never bootstrap.
package rebuild
