// Package loopback runs galera-init with everything real but the kubelet: a
// real etcd and API server, the real manifests and role, and real mariadbd on
// loopback addresses, each with its galera-init in a PID namespace of its own,
// which ends as a container ends. Its tests use it, and so does test/chaos.
//
// All of it lives in network and mount namespaces of its own (Isolate): ports
// collide with nobody's, volumes lie on a tmpfs, and nothing outlives the
// program. Members lose their processes here and never the page cache: power
// cuts are what the test bed is for.
//
// It needs root, mariadb-server with galera-4 and rsync, and the control
// plane's binaries (package controlplane). It fails when something is missing.
package loopback
