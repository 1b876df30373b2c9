// Package innodb says of a data directory whether every page of it is what the
// server wrote, and what is missing, misplaced or cut.
//
// It only reads, takes no lock and starts no process. Facts about formats are in
// the sub-packages: page (one page), redo (the log and the position), dictionary
// (which table lies in which file).
package innodb
