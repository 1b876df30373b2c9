// Package forge makes redo logs for tests, in the formats of servers that are
// not at hand and in states that a server reaches only by chance.
package forge
