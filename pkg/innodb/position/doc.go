// Package position tells how far a data directory is in the history of its
// Galera cluster, without a server and without writing.
//
// The server notes uuid and seqno of a transaction in a rollback segment's
// header, in the mini-transaction that commits it. What the data files hold of
// these headers can be old; the redo log has the rest. Read replays the log for
// the headers and nothing else, which takes a fraction of the time of the
// server's own recovery (mariadbd --wsrep-recover), and answers the same.
//
// Facts are from MariaDB's storage/innobase (trx0rseg.cc, trx0sys.h, trx0undo.h)
// and sql/wsrep_xid.cc.
package position
