// Package galeracluster keeps the GaleraCluster object, and reads the
// StatefulSet and the claim around it.
//
// The object's status is a rebuild.Cluster. It is changed only by
// compare-and-swap on its resource version, and watched, never polled. An
// error of the API says nothing about the database: callers wait and try again.
package galeracluster
