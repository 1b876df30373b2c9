// Package loopback tests galera-init with everything real but the kubelet: a
// real etcd and API server, the real manifests and role, and three real
// mariadbd on loopback addresses, each with its galera-init in a PID namespace
// of its own, which ends as a container ends.
//
// The tests need root, mariadb-server with galera-4 and rsync, and the control
// plane's binaries (package controlplane). They fail when something is
// missing; they are not skipped.
package loopback
