package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"

	"github.com/berth-dev/berth/pkg/extender"
	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/test/pki"
)

// extenderSetup is stock kube-scheduler as manifests/extender configures it, with
// an extender in this process, asked over mutual TLS.
func extenderSetup(manifest, dir string, profiles []config.KubeSchedulerProfile) (setup, error) {
	c, err := configuration(manifest)
	if err != nil {
		return setup{}, err
	}
	if len(c.Extenders) != 1 || len(c.Extenders[0].ManagedResources) != 1 {
		return setup{}, fmt.Errorf("read %s: want one extender with one managed resource", manifest)
	}
	shipped := c.Extenders[0]
	return setup{
		name: "stock+extender", profiles: profiles, percentage: c.PercentageOfNodesToScore,
		adapt: func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceName(shipped.ManagedResources[0].Name): resource.MustParse("1")}
			p.Spec.Containers[0].Resources.Requests[corev1.ResourceName(shipped.ManagedResources[0].Name)] = resource.MustParse("1")
		},
		extend: func(ctx context.Context, client kubernetes.Interface) (config.Extender, error) {
			return startExtender(ctx, client, dir, shipped)
		},
	}, nil
}

// startExtender serves on a port of its own and returns how to reach it.
func startExtender(ctx context.Context, client kubernetes.Interface, dir string, shipped config.Extender) (config.Extender, error) {
	authority, err := pki.New(dir, "bench-scheduler")
	if err != nil {
		return config.Extender{}, err
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	if _, _, err := authority.Issue("server", pki.Server("extender", net.IPv4(127, 0, 0, 1))); err != nil {
		return config.Extender{}, err
	}
	const scheduler = "system:kube-scheduler"
	if _, _, err := authority.Issue("scheduler", pki.Client(scheduler)); err != nil {
		return config.Extender{}, err
	}
	tls, err := extender.Files{Cert: file("server.crt"), Key: file("server.key"), ClientCA: file("ca.crt")}.TLS(ctx)
	if err != nil {
		return config.Extender{}, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	i, err := inventory.New(client, factory)
	if err != nil {
		return config.Extender{}, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return config.Extender{}, err
	}
	registry := prometheus.NewRegistry()
	served := extender.NewServer(extender.New(extender.Config{Inventory: i}), []string{scheduler}, extender.DefaultLimits(), func() error { return nil }, registry)
	server := &http.Server{Handler: served.Handler(registry), TLSConfig: tls}
	go server.ServeTLS(listener, "", "")
	context.AfterFunc(ctx, func() { server.Close() })

	shipped.URLPrefix = "https://" + listener.Addr().String()
	shipped.TLSConfig = &config.ExtenderTLSConfig{CAFile: file("ca.crt"), CertFile: file("scheduler.crt"), KeyFile: file("scheduler.key")}
	return shipped, nil
}

// configuration reads a file with a KubeSchedulerConfiguration.
func configuration(path string) (*config.KubeSchedulerConfiguration, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the scheduler's configuration: %w", err)
	}
	return decode(path, file)
}

func decode(path string, file []byte) (*config.KubeSchedulerConfiguration, error) {
	o, _, err := scheme.Codecs.UniversalDecoder().Decode(file, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("decode the configuration in %s: %w", path, err)
	}
	c, is := o.(*config.KubeSchedulerConfiguration)
	if !is {
		return nil, fmt.Errorf("decode the configuration in %s: it is a %T", path, o)
	}
	return c, nil
}
