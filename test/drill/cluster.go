package drill

import (
	"context"
	"net"
	"os/exec"

	"k8s.io/client-go/rest"
)

// Cluster is the Kubernetes cluster that a drill is run on.
type Cluster interface {
	// RESTConfig is an administrator's connection to the API server.
	RESTConfig() (*rest.Config, error)
	// Kubectl is kubectl with these arguments, as administrator, ready to run.
	Kubectl(ctx context.Context, args ...string) (*exec.Cmd, error)
	Dialer
	// Exec runs a command in a node, outside of every container.
	Exec(ctx context.Context, node string, argv ...string) (string, error)
	Power
}

// Power switches nodes and the API server's memory.
type Power interface {
	PowerOff(nodes ...string) error
	PowerOn(ctx context.Context, nodes ...string) error
	// WipeAPI makes the API server forget everything.
	WipeAPI(ctx context.Context) error
}

// Dialer connects to an address of the cluster's networks; a *net.Dialer is one
// where these are the program's own.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}
