package main

import (
	"fmt"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// api is what the commands share that ask the API server.
type api struct{ kubeconfig string }

// Flags declares the flags.
func (a *api) Flags(f *pflag.FlagSet) {
	f.StringVar(&a.kubeconfig, "kubeconfig", "", "file to reach the API server with; empty inside a pod, where the service account is used")
}

// Config is how the API server is reached.
func (a *api) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the API server (outside a pod use --kubeconfig): %w", err)
	}
	return config, nil
}

// Client connects to the API server.
func (a *api) Client() (*kubernetes.Clientset, error) {
	config, err := a.Config()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return client, nil
}
