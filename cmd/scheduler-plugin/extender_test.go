package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/berth-dev/berth/pkg/extender"
	"github.com/berth-dev/berth/test/pki"
)

func TestExtenderValidate(t *testing.T) {
	for _, x := range []struct {
		name string
		args []string
		says []string
	}{
		{"nothing given", nil, []string{"--tls-cert-file", "--tls-private-key-file", "--client-ca-file"}},
		{"nobody may ask", []string{"--tls-cert-file=c", "--tls-private-key-file=k", "--client-ca-file=a", "--client-name="}, []string{"--client-name"}},
		{"no address", []string{"--tls-cert-file=c", "--tls-private-key-file=k", "--client-ca-file=a", "--listen=x"}, []string{"--listen"}},
		{"no room for a request", []string{"--tls-cert-file=c", "--tls-private-key-file=k", "--client-ca-file=a", "--max-body-bytes=1"}, []string{"--max-body-bytes"}},
		{"an unknown flag", []string{"--bind"}, []string{"--bind"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(append([]string{"extender"}, x.args...))
			err := cmd.Execute()
			var usage usageError
			if !errors.As(err, &usage) {
				t.Fatalf("error %v, want one of usage", err)
			}
			for _, flag := range x.says {
				if !strings.Contains(err.Error(), flag) {
					t.Errorf("error %q does not name %s", err, flag)
				}
			}
		})
	}
}

// TestExtenderServes runs the command up to its readiness, and ends it.
func TestExtenderServes(t *testing.T) {
	dir := t.TempDir()
	authority, err := pki.New(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := authority.Issue("tls", pki.Server("extender", net.IPv4(127, 0, 0, 1))); err != nil {
		t.Fatal(err)
	}
	c := &extenderCommand{
		files:   extender.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")},
		clients: []string{"system:kube-scheduler"}, limits: extender.DefaultLimits(),
	}
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "now"}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- c.serve(ctx, client, listener) }()

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	probe := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	limit := time.After(30 * time.Second)
	for status := 0; status != http.StatusOK; {
		select {
		case <-limit:
			t.Fatal("the extender is not ready")
		case err := <-ended:
			t.Fatalf("the extender ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
		if response, err := probe.Get("https://" + listener.Addr().String() + "/readyz"); err == nil {
			response.Body.Close()
			status = response.StatusCode
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("told to stop, the extender ended with %v", err)
	}
}
