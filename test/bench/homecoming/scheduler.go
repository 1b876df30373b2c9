package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-dev/berth/test/controlplane"
	"github.com/berth-dev/berth/test/pki"
)

// contender is a way to schedule that is measured.
type contender struct {
	name string
	// asks says that pods have to request the extender's resource.
	asks  bool
	start func(ctx context.Context, h *harness) error
}

func contenders() []contender {
	return []contender{
		{name: "stock", start: startStock},
		{name: "VolumeHome", start: startOurs},
		{name: "stock+extender", asks: true, start: startExtended},
	}
}

// harness is a control plane with the directories around it.
type harness struct {
	*controlplane.ControlPlane
	dir, manifests string
}

func (h *harness) path(name string) string { return filepath.Join(h.dir, name) }

// startStock runs kube-scheduler as it comes, under the name that the pods ask for.
func startStock(_ context.Context, h *harness) error {
	return h.runScheduler("kube-scheduler", map[string]any{
		"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
		"profiles": []any{map[string]any{"schedulerName": "berth-scheduler"}},
	})
}

// startOurs runs scheduler-plugin with the configuration in its manifest.
func startOurs(_ context.Context, h *harness) error {
	file, err := os.ReadFile(filepath.Join(h.manifests, "base", "scheduler.yaml"))
	if err != nil {
		return err
	}
	for document := range strings.SplitSeq(string(file), "\n---\n") {
		var m corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(document), &m); err != nil || m.Kind != "ConfigMap" {
			continue
		}
		config := map[string]any{}
		if err := yaml.Unmarshal([]byte(m.Data["scheduler.yaml"]), &config); err != nil {
			return fmt.Errorf("read the configuration in manifests/base: %w", err)
		}
		return h.runScheduler("scheduler-plugin", config)
	}
	return fmt.Errorf("find the scheduler's configuration in manifests/base: no ConfigMap has one")
}

// startExtended runs kube-scheduler with the configuration that is shipped for it,
// and the extender as the service account of its manifest.
func startExtended(ctx context.Context, h *harness) error {
	for _, manifest := range []string{"base/namespace.yaml", "extender/extender.yaml"} {
		if _, err := h.Kubectl(ctx, "", "apply", "-f", filepath.Join(h.manifests, manifest)); err != nil {
			return err
		}
	}
	authority, err := pki.New(h.dir, "homecoming")
	if err != nil {
		return err
	}
	if _, _, err := authority.Issue("tls", pki.Server("extender", net.IPv4(127, 0, 0, 1))); err != nil {
		return err
	}
	if _, _, err := authority.Issue("scheduler", pki.Client("system:kube-scheduler")); err != nil {
		return err
	}
	kubeconfig, err := h.KubeconfigAs("system:serviceaccount:berth-system:scheduler-extender")
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.path("extender.kubeconfig"), kubeconfig, 0o600); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if err := h.Run("scheduler-plugin", "extender", "--listen="+address, "--kubeconfig="+h.path("extender.kubeconfig"),
		"--tls-cert-file="+h.path("tls.crt"), "--tls-private-key-file="+h.path("tls.key"), "--client-ca-file="+h.path("ca.crt")); err != nil {
		return err
	}
	file, err := os.ReadFile(filepath.Join(h.manifests, "extender", "kube-scheduler.yaml"))
	if err != nil {
		return err
	}
	config := map[string]any{}
	if err := yaml.Unmarshal(file, &config); err != nil {
		return fmt.Errorf("read manifests/extender/kube-scheduler.yaml: %w", err)
	}
	extender := config["extenders"].([]any)[0].(map[string]any)
	extender["urlPrefix"] = "https://" + address
	extender["tlsConfig"] = map[string]any{"caFile": h.path("ca.crt"), "certFile": h.path("scheduler.crt"), "keyFile": h.path("scheduler.key")}
	config["profiles"] = []any{map[string]any{"schedulerName": "berth-scheduler"}}
	return h.runScheduler("kube-scheduler", config)
}

// runScheduler runs the program with the configuration, changed only in where the
// API server is, that nobody else may lead, and that no client-side limit hides
// what the scheduler can do.
func (h *harness) runScheduler(program string, config map[string]any) error {
	config["clientConnection"] = map[string]any{"kubeconfig": h.Kubeconfig(), "qps": 2000, "burst": 4000}
	config["leaderElection"] = map[string]any{"leaderElect": false}
	file, err := json.Marshal(config)
	if err != nil {
		return err
	}
	path := h.path(program + ".yaml")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	return h.Run(program, "--config="+path, "--secure-port=0")
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
