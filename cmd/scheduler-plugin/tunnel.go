package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"github.com/berth-dev/berth/pkg/volume"
)

// tunnel leads to a port on the loopback of the leading scheduler's machine.
type tunnel struct {
	url  string
	stop chan struct{}
}

func (t *tunnel) close() { close(t.stop) }

// openTunnel reaches the leader through the API server.
func openTunnel(ctx context.Context, kubeconfig string, port int) (*tunnel, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server (or ask a scheduler directly with --server): %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	pod, err := leader(ctx, client)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach pod %s: %w", pod, err)
	}
	target := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(volume.SystemNamespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	t := &tunnel{stop: make(chan struct{})}
	ready, failed := make(chan struct{}), make(chan error, 1)
	forward, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, t.stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("reach pod %s: %w", pod, err)
	}
	go func() { failed <- forward.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-failed:
		return nil, fmt.Errorf("reach pod %s (this takes the right to create pods/portforward in namespace %s): %w", pod, volume.SystemNamespace, err)
	case <-ctx.Done():
		t.close()
		return nil, fmt.Errorf("reach pod %s: %w", pod, ctx.Err())
	}
	ports, err := forward.GetPorts()
	if err != nil {
		t.close()
		return nil, fmt.Errorf("reach pod %s: %w", pod, err)
	}
	t.url = fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local)
	return t, nil
}

// leader returns the pod of the scheduler that leads. The Lease names the host,
// which for a pod on the host's network is its node.
func leader(ctx context.Context, client kubernetes.Interface) (string, error) {
	lease, err := client.CoordinationV1().Leases(volume.SystemNamespace).Get(ctx, volume.SchedulerName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("find the leading scheduler: %w", err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", fmt.Errorf("find the leading scheduler: Lease %s/%s has no holder: no scheduler runs", volume.SystemNamespace, volume.SchedulerName)
	}
	host, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	pods, err := client.CoreV1().Pods(volume.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=scheduler-plugin"})
	if err != nil {
		return "", fmt.Errorf("find the leading scheduler: %w", err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase == corev1.PodRunning && (p.Spec.NodeName == host || p.Name == host) {
			return p.Name, nil
		}
	}
	return "", fmt.Errorf("find the leading scheduler: Lease %s/%s names host %s, where no pod of it runs", volume.SystemNamespace, volume.SchedulerName, host)
}
