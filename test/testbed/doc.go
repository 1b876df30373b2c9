// Package testbed runs a Kubernetes cluster whose nodes have their own kernel,
// their own disks and their own power switch, on one Linux machine with root
// and nothing else: no container engine, no virtualisation, no registry.
//
// The control plane (etcd, kube-apiserver, kube-controller-manager and the stock
// kube-scheduler) runs as processes of the host inside a network namespace. Each
// node is a User-Mode Linux kernel with kubelet, containerd and LVM on disks of
// its own. Ending a node's kernel process is a power cut: what the guest had not
// written to its disks is gone.
//
// Everything a bed owns lives below one directory and inside one network
// namespace, so that Down (or the Up after a crash) can find and remove it.
package testbed
