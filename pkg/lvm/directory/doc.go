// Package directory keeps volumes as directories below one base directory, for
// machines without LVM.
//
// The base directory stands for a volume group and is marked by a file with its
// UUID. Each volume is a directory in it, with a record (volume.json: UUID, size,
// tags) and, beside the record, the directory that a pod mounts (data). The record
// names data by inode and time of birth: another directory in its place, a blank
// one or a copy, is not taken for it.
package directory
