// Package offline runs a database server on a copy of a data directory, without
// network, cluster and accounts, so that it can be asked about the data while the
// directory itself stays as it is.
package offline
