// Package provisioning attacks the provisioner from outside: kills of the real
// agent on real lvm, and the table of what users of other provisioners have
// reported, with the tests that play it.
package provisioning
