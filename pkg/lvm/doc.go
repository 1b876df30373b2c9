// Package lvm reads and changes volume groups through the lvm command. All
// commands of a node's storage, lvm's and the file system's, go through one
// Runner.
package lvm
