// Package drill rehearses the worst day of a Galera cluster on a cluster of real
// nodes: power cuts at different moments, deleted workloads and claims, an API
// server that remembers nothing, a killed server, all under a client that writes.
// It records what happened and judges it.
package drill
