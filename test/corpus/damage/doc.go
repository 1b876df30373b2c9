// Package damage spoils data directories in the ways in which disks, kernels and
// people do, at places that a seed chooses.
package damage
