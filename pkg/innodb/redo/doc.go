// Package redo reads InnoDB's redo log: header, checkpoints, mini-transactions
// and their records, up to the place where the log ends.
//
// It reads a file in one pass and in bounded memory, writes nothing and applies
// nothing but the records its caller asks for. Two formats are understood, that
// of MariaDB 10.8 and later and that of 10.5 to 10.7; logs in other formats, and
// encrypted ones, are recognised and not read. Facts are from MariaDB's
// storage/innobase (log0log.h, log0recv.cc, mtr0types.h).
package redo
