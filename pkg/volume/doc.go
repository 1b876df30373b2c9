// Package volume says what a Berth volume is called and what is written on it:
// logical volume names, LVM tags, and the labels and annotations by which the
// same facts appear on Kubernetes objects. It is pure: no client, no command.
package volume
