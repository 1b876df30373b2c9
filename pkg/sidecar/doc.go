// Package sidecar stands beside a running server: it says whether the server may
// serve clients, keeps its volume on disk, and writes down how far it has come.
package sidecar
