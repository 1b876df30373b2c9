// Package datadir reads what a Galera data directory says about itself and
// says what it is worth: position, class and findings.
//
// It starts no process and knows no Kubernetes. Files of the database are only
// read here, with one exception, WriteGrastate; everything else that Berth
// writes lies beside the data directory (see Volume), where a state transfer
// does not wipe it.
package datadir
