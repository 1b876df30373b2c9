// Package provisioner is the agent of one node: it makes logical volumes for
// claims, brings the volumes it finds home, and shows them to the API.
//
// The disk is the record. Every decision starts from a fresh report of lvm; PVs,
// capacity objects, links and the node's labels follow from it and can be lost
// at any time.
package provisioner
