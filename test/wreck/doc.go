// Package wreck classifies data directories as real servers leave them: killed
// in a commit, in an ALTER, in a state transfer and beside one, stopped in order,
// with a prepared transaction, emptied, copied from elsewhere.
//
// The tests need mariadb-server, mariadb-backup, galera-4, rsync and socat. They
// run servers on loopback addresses of their own and know no Kubernetes.
package wreck
