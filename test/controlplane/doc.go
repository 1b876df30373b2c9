// Package controlplane runs a real etcd and API server, and on request the
// controller manager and the scheduler, on loopback for as long as a test or a
// command needs them: ports from the kernel, memory in a directory of the
// caller, an end by process.
//
// The binaries (etcd, kube-apiserver, kubectl, …) come from the directory
// BERTH_BIN, by default _out/bin of the repository; `make control-plane` builds
// them. When one is missing Start says so: nothing is skipped.
package controlplane
