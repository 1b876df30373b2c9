package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/provisioner"
)

// agentCommand serves one node until it is told to stop.
type agentCommand struct {
	place
	links
	nodeName   string
	interval   time.Duration
	listen     string
	kubeconfig string
	keepOpen   bool
	trash      provisioner.TrashPolicy
}

func (c *agentCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Serve the volumes of this node",
		Long: `Serve the volumes of this node: make volumes for claims whose selected node it is,
publish the volumes found on its disks, reserve released ones for their claims
again, and publish free capacity. Run it once on each node, as root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return err
			}
			return c.Run(cmd.Context())
		},
	}
	c.Flags(cmd.Flags())
	return cmd
}

// Flags declares the flags.
func (c *agentCommand) Flags(f *pflag.FlagSet) {
	c.place.Flags(f)
	f.StringVar(&c.nodeName, "node-name", "", "name of this machine's Node object; in a pod take it from the downward API, spec.nodeName")
	f.DurationVar(&c.interval, "interval", 10*time.Second, "time between two looks at the disks when nothing happens; each costs one lvm command")
	c.links.Flags(f)
	f.BoolVar(&c.keepOpen, "keep-lvm-open", true, "keep an lvm open (its shell) for each of reports, linear volumes and tags of volumes, for most of a command is the start of its process; false runs each in a process of its own, as everywhere where lvm has no shell or no profile lvmdbusd")
	f.StringVar(&c.listen, "listen", ":9750", "address for /healthz and /metrics")
	f.DurationVar(&c.trash.Keep, "trash-keep", provisioner.DefaultTrashKeep, "how long a deleted volume can be had back (lvm-provisioner undelete) before it is wiped and removed")
	f.IntVar(&c.trash.PerHour, "trash-per-hour", provisioner.DefaultTrashPerHour, "most volumes of a volume group that may be deleted within an hour")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "file to reach the API server with; empty inside a pod, where the service account is used")
}

// Validate joins all that is wrong with the flags.
func (c *agentCommand) Validate() error {
	var problems []error
	if c.nodeName == "" {
		problems = append(problems, errors.New("--node-name is missing: give the name of this machine's Node object (kubectl get nodes)"))
	}
	if c.interval < time.Second {
		problems = append(problems, fmt.Errorf("--interval is %s: use 1s or more", c.interval))
	}
	if c.trash.Keep < time.Minute || c.trash.PerHour < 1 {
		problems = append(problems, fmt.Errorf("--trash-keep is %s and --trash-per-hour %d: use 1m and 1, or more", c.trash.Keep, c.trash.PerHour))
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		problems = append(problems, fmt.Errorf("--listen is %q: use HOST:PORT or :PORT", c.listen))
	}
	return errors.Join(append(problems, c.links.Validate(), c.place.Validate())...)
}

// gcPercent has the agent collect garbage when its heap has grown to five times what it
// needs, which is some MB. On the test bed, where page faults are dear, 20 claims at once
// took 1.2 times the bare commands with it, and 1.3 without. GOGC in the environment goes
// before.
const gcPercent = 400

// Run serves until the context ends.
func (c *agentCommand) Run(ctx context.Context) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the API server (outside a pod use --kubeconfig): %w", err)
	}
	provisioner.Tune(config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	registry := prometheus.NewRegistry()
	runner, end := c.runner(ctx)
	defer end()
	service, err := provisioner.New(ctx, provisioner.Config{
		Node:     c.nodeName,
		Interval: c.interval,
		Links:    c.Links(),
		Client:   client,
		Runner:   runner,
		Storage:  c.Storage(),
		Metrics:  provisioner.NewMetrics(registry),
		Clock:    clock.RealClock{},
		Trash:    c.trash,
		Private:  c.SelfTest().Private,
		Watch:    c.Watch(),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen (choose another address with --listen): %w", err)
	}
	server := &http.Server{Handler: handler(service, registry), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			klog.FromContext(ctx).Error(err, "Serving metrics ended", "address", c.listen)
		}
	}()
	defer server.Close()
	return service.Run(ctx)
}

// runner runs the machine's commands until end is called.
func (c *agentCommand) runner(ctx context.Context) (run lvm.Runner, end func()) {
	if !c.keepOpen || c.lvm == string(lvm.Nowhere) {
		return c.Runner(), func() {}
	}
	shell := &lvm.Shell{Exec: c.Runner(), Said: func(err error) {
		klog.FromContext(ctx).Info("Each of lvm's commands is a process of its own, which is slower and changes nothing else", "why", err)
	}}
	return shell, shell.Close
}

func handler(service *provisioner.Service, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := service.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
