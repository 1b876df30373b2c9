package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/berth-dev/berth/pkg/extender"
	"github.com/berth-dev/berth/pkg/inventory"
)

// extenderCommand serves VolumeHome's decision to a stock kube-scheduler.
type extenderCommand struct {
	listen, kubeconfig string
	files              extender.Files
	clients            []string
	limits             extender.Limits
	advise             bool
}

func (c *extenderCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "extender",
		Short: "Serve the same decision to a stock kube-scheduler, over HTTPS",
		Long: `Serve the decision of the plugin VolumeHome to a kube-scheduler that cannot be
replaced. Run it beside kube-scheduler, on the same machine, and name it in
kube-scheduler's own configuration (manifests/extender/kube-scheduler.yaml):

  extenders:
  - urlPrefix: https://127.0.0.1:10360
    filterVerb: filter
    prioritizeVerb: prioritize
    weight: 1
    nodeCacheCapable: true     # node names, not whole nodes
    ignorable: false           # without a verdict a member must not run anywhere
    enableHTTPS: true
    tlsConfig: {caFile: ..., certFile: ..., keyFile: ...}
    managedResources:
    - {name: berth.dev/home, ignoredByScheduler: true}

Only pods with a container that asks for berth.dev/home: "1" are sent here.
The plugin is faster, sees all nodes, and wakes a pod for what it waits for: where
you can, run it and not the extender (docs/limitations.md, Extender).

Exit code: 0 told to stop, 1 it cannot serve, 2 wrong use.`,
		Example: `  scheduler-plugin extender --tls-cert-file tls.crt --tls-private-key-file tls.key --client-ca-file ca.crt
  curl --cacert ca.crt https://127.0.0.1:10360/readyz`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		// The parent's sets up kube-scheduler's feature gates.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Validate(); err != nil {
				return usageError{err}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return c.Run(ctx)
		},
	}
	c.Flags(cmd.Flags())
	var klogFlags flag.FlagSet
	klog.InitFlags(&klogFlags)
	cmd.Flags().AddGoFlag(klogFlags.Lookup("v"))
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	// kube-scheduler's help would list kube-scheduler's flags.
	plain := &cobra.Command{}
	cmd.SetHelpFunc(plain.HelpFunc())
	cmd.SetUsageFunc(plain.UsageFunc())
	return cmd
}

// Flags declares the flags.
func (c *extenderCommand) Flags(f *pflag.FlagSet) {
	c.limits = extender.DefaultLimits()
	f.StringVar(&c.listen, "listen", "127.0.0.1:10360", "address for kube-scheduler, /livez, /readyz and /metrics")
	f.StringVar(&c.kubeconfig, "kubeconfig", "", "file to reach the API server with; empty inside a pod, where the service account is used")
	f.StringVar(&c.files.Cert, "tls-cert-file", "", "certificate of this server; read again when it changes")
	f.StringVar(&c.files.Key, "tls-private-key-file", "", "key of the certificate; read again when it changes")
	f.StringVar(&c.files.ClientCA, "client-ca-file", "", "who signs kube-scheduler's client certificate; read again when it changes")
	f.StringSliceVar(&c.clients, "client-name", []string{"system:kube-scheduler"}, "common names of client certificates that get a verdict")
	f.Int64Var(&c.limits.Body, "max-body-bytes", c.limits.Body, "longest request")
	f.DurationVar(&c.limits.Time, "max-time", c.limits.Time, "longest work on a request; less than kube-scheduler's httpTimeout")
	f.IntVar(&c.limits.Concurrent, "max-requests", c.limits.Concurrent, "most requests worked on at once")
	f.BoolVar(&c.advise, "advise", false, "leave kube-scheduler the choice among all nodes with room, and promise none: members created together may then meet on a node")
}

// Validate joins all that is wrong with the flags.
func (c *extenderCommand) Validate() error {
	var problems []error
	for _, file := range []struct{ flag, value string }{
		{"tls-cert-file", c.files.Cert}, {"tls-private-key-file", c.files.Key}, {"client-ca-file", c.files.ClientCA},
	} {
		if file.value == "" {
			problems = append(problems, fmt.Errorf("--%s is missing: verdicts are given over mutual TLS only", file.flag))
		}
	}
	if len(c.clients) == 0 {
		problems = append(problems, errors.New("--client-name is empty: name the common name of kube-scheduler's client certificate"))
	}
	if _, _, err := net.SplitHostPort(c.listen); err != nil {
		problems = append(problems, fmt.Errorf("--listen is %q: use HOST:PORT or :PORT", c.listen))
	}
	if c.limits.Body < 1<<10 || c.limits.Time <= 0 || c.limits.Concurrent < 1 {
		problems = append(problems, errors.New("--max-body-bytes, --max-time and --max-requests must be at least 1024, above 0 and at least 1"))
	}
	return errors.Join(problems...)
}

// Run serves until the context ends.
func (c *extenderCommand) Run(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the API server (outside a pod use --kubeconfig): %w", err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return fmt.Errorf("listen (choose another address with --listen): %w", err)
	}
	defer listener.Close()
	return c.serve(ctx, client, listener)
}

// serve answers on the listener until the context ends.
func (c *extenderCommand) serve(ctx context.Context, client kubernetes.Interface, listener net.Listener) error {
	tls, err := c.files.TLS(ctx)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	i, err := inventory.New(client, factory)
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	go i.Run(ctx, func() {})
	e := extender.New(extender.Config{Inventory: i, Advise: c.advise})
	go e.Sweep(ctx, client, time.Minute, clock.RealClock{})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	handler := extender.NewServer(e, c.clients, c.limits, ready(factory), registry).Handler(registry)
	server := &http.Server{
		Handler: handler, TLSConfig: tls,
		ReadHeaderTimeout: c.limits.Time, ReadTimeout: 2 * c.limits.Time, WriteTimeout: 3 * c.limits.Time, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	klog.FromContext(ctx).Info("Serving verdicts", "address", listener.Addr(), "clients", c.clients)
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve verdicts: %w", err)
	}
	return nil
}

// ready says which first list is still missing.
func ready(factory informers.SharedInformerFactory) func() error {
	return func() error {
		stopped := make(chan struct{})
		close(stopped)
		for kind, synced := range factory.WaitForCacheSync(stopped) {
			if !synced {
				return fmt.Errorf("the first list of %s from the API server is not complete", kind)
			}
		}
		return nil
	}
}

// withoutManagedFields drops what no verdict needs and every object carries.
func withoutManagedFields(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		m.SetManagedFields(nil)
	}
	return o, nil
}
