// Package wsrep asks a running Galera server about itself. It is the only package
// that speaks SQL.
package wsrep
