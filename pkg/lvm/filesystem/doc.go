// Package filesystem makes the file system of a volume once and recognises it
// for ever after. "Unreadable", "ambiguous" and "no answer" are errors here and
// never "empty".
package filesystem
