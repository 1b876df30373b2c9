// Package plugin is VolumeHome, the scheduler plugin that sends each database
// member home to the node with its data. It translates between the scheduler's
// framework and packages inventory and placement, and decides nothing itself.
package plugin
