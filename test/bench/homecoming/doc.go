// Command homecoming re-creates many Galera StatefulSets whose volumes are there,
// and counts which members find theirs.
//
// API server, etcd, the controllers of StatefulSets and volumes, and the
// schedulers are the real programs. Machines are played: for all nodes together
// one kubelet says that pods run, and one agent reserves released volumes again
// after a look at its disks that takes its time, and makes a blank volume where a
// scheduler has selected a node, as lvm-provisioner does.
package main
