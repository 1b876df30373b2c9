// Package extender gives a stock kube-scheduler the decision of package placement
// over HTTPS: for clusters whose kube-scheduler cannot be replaced by the plugin's.
//
// An extender is told less than a plugin: it is asked after all filters, about
// the nodes that they left, and nobody tells it which node was chosen or that
// the choice came to nothing. Promises of room must be made all the same, before
// the next pod is looked at. So Filter makes the choice itself: of the nodes with
// room for a new volume it leaves the best one, and promises that.
package extender
