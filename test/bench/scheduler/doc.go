// Command scheduler measures scheduling cycles of stock kube-scheduler and of
// ours side by side: the real scheduler of v1.37, in this process, with its real
// plugins and informers, on an API server that is a map.
//
// Only cycles are timed, from the queue to the assumed pod. What a pod's binding
// would write to the API server is parked until the round is over, so that no
// fake's speed is in the figures. Every pod has to be assumed, and on a node that
// holds its volume, or the run fails: a pod that was refused cannot look fast.
package main
