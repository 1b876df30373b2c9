// Package attack sets the verifier of data directories against real ones: killed
// servers on which it must not raise a false alarm, and damage that it must find.
package attack
