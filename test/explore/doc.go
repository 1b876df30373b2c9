// Package explore drives the real decision, grants and steps of pkg/rebuild
// through every order of what can happen to a small cluster, and checks in every
// state what must never happen.
//
// A world is two to four members with their volumes, processes and servers, and
// the object. What Galera, the kernel and the API server do is a model (primary
// component, lock of a volume, compare-and-swap); what galera-init decides and
// writes is the real code, called through Rules. A mutant is Rules with one line
// of defence taken out; the tests show that each is found.
package explore
