// Package corpus makes data directories of a real MariaDB server in every format
// of InnoDB: clean, and killed under several kinds of load.
package corpus
