package extender

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/test/pki"
)

// service is a Server on a port of its own, with the certificates around it.
type service struct {
	*testing.T
	url       string
	dir       string
	authority *pki.Authority
}

func serve(t *testing.T, inventory Inventory, limits Limits, ready func() error) *service {
	t.Helper()
	s := &service{T: t, dir: t.TempDir()}
	s.authority = s.newAuthority()
	s.issueServer("first")
	files := Files{Cert: s.path("tls.crt"), Key: s.path("tls.key"), ClientCA: s.path("ca.crt")}
	config, err := files.TLS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	server := &http.Server{
		Handler:   NewServer(New(Config{Inventory: inventory}), []string{"scheduler"}, limits, ready, registry).Handler(registry),
		TLSConfig: config,
	}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })
	s.url = "https://" + listener.Addr().String()
	return s
}

func (s *service) path(name string) string { return filepath.Join(s.dir, name) }

func (s *service) newAuthority() *pki.Authority {
	s.Helper()
	a, err := pki.New(s.dir, "extender test")
	if err != nil {
		s.Fatal(err)
	}
	return a
}

// issueServer writes the server's certificate anew.
func (s *service) issueServer(name string) {
	s.Helper()
	if _, _, err := s.authority.Issue("tls", pki.Server(name, net.IPv4(127, 0, 0, 1))); err != nil {
		s.Fatal(err)
	}
}

// client has a certificate of the authority for the name, or none.
func (s *service) client(authority *pki.Authority, name string) *http.Client {
	s.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.authority.PEM)
	config := &tls.Config{RootCAs: roots}
	if name != "" {
		cert, key, err := authority.Issue("client-"+name, pki.Client(name))
		if err != nil {
			s.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			s.Fatal(err)
		}
		// Shown whoever the server would accept one from.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	// One connection a request, so that each sees the certificate of its moment.
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

func (s *service) scheduler() *http.Client { return s.client(s.authority, "scheduler") }

func (s *service) post(c *http.Client, verb string, body any) (status int, answer string) {
	s.Helper()
	raw, is := body.([]byte)
	if !is {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			s.Fatal(err)
		}
	}
	response, err := c.Post(s.url+"/"+verb, "application/json", bytes.NewReader(raw))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func ok() error { return nil }

func TestOnlyTheSchedulerGetsAVerdict(t *testing.T) {
	w := quiet(3)
	s := serve(t, newInventory(t, w.client()), DefaultLimits(), ok)
	names := w.names()
	args := extenderv1.ExtenderArgs{Pod: w.pods[0], NodeNames: &names}

	if status, answer := s.post(s.client(nil, ""), "filter", args); status != http.StatusForbidden {
		t.Errorf("without a certificate: %d %s", status, answer)
	}
	if status, answer := s.post(s.client(s.authority, "system:node:n1"), "filter", args); status != http.StatusForbidden {
		t.Errorf("another client of the same authority: %d %s", status, answer)
	}
	other, err := pki.New(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := s.post(s.client(other, "scheduler"), "filter", args); status != 0 {
		t.Errorf("the right name from another authority: %d %s", status, answer)
	}
	status, answer := s.post(s.scheduler(), "filter", args)
	var result extenderv1.ExtenderFilterResult
	if err := json.Unmarshal([]byte(answer), &result); status != http.StatusOK || err != nil {
		t.Fatalf("the scheduler: %d %s, %v", status, answer, err)
	}
	if len(*result.NodeNames) != 1 || (*result.NodeNames)[0] != "n2" {
		t.Errorf("left %v, want the emptiest node n2", *result.NodeNames)
	}
}

func TestPrioritizeFollowsTheRoom(t *testing.T) {
	w := quiet(3) // 100, 200 and 300 GiB free
	e := New(Config{Inventory: newInventory(t, w.client())})
	names := w.names()
	scores, err := e.Prioritize(t.Context(), extenderv1.ExtenderArgs{Pod: w.pods[0], NodeNames: &names})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scores {
		if want := []int64{4, 7, 10}[i]; s.Host != nodeName(i) || s.Score != want {
			t.Errorf("score %v, want %d for %s", s, want, nodeName(i))
		}
	}
}

func TestAdviseLeavesTheChoice(t *testing.T) {
	w := quiet(3)
	e := New(Config{Inventory: newInventory(t, w.client()), Advise: true})
	for _, pod := range w.pods[:2] {
		names := w.names()
		if got := e.Filter(t.Context(), extenderv1.ExtenderArgs{Pod: pod, NodeNames: &names}); len(*got.NodeNames) != 3 {
			t.Errorf("pod %s is left %v, want all nodes", pod.Name, *got.NodeNames)
		}
	}
}

func TestBadRequests(t *testing.T) {
	limits := DefaultLimits()
	limits.Body = 4 << 10
	w := quiet(1)
	s := serve(t, newInventory(t, w.client()), limits, ok)
	c := s.scheduler()
	for _, x := range []struct {
		name, verb string
		body       any
		status     int
		says       string
	}{
		{"not JSON", "filter", []byte("{"), http.StatusBadRequest, "read the request"},
		{"too long", "filter", []byte(`{"Pod": {"metadata": {"name": "` + strings.Repeat("x", 8<<10) + `"}}}`), http.StatusRequestEntityTooLarge, "nodeCacheCapable"},
		{"whole nodes", "filter", extenderv1.ExtenderArgs{Pod: w.pods[0]}, http.StatusOK, "nodeCacheCapable"},
		{"whole nodes", "prioritize", extenderv1.ExtenderArgs{Pod: w.pods[0]}, http.StatusInternalServerError, "nodeCacheCapable"},
		{"unknown verb", "bind", extenderv1.ExtenderArgs{}, http.StatusNotFound, ""},
	} {
		t.Run(x.verb+" "+x.name, func(t *testing.T) {
			if status, answer := s.post(c, x.verb, x.body); status != x.status || !strings.Contains(answer, x.says) {
				t.Errorf("%d %s, want %d that says %q", status, answer, x.status, x.says)
			}
		})
	}
}

// stuck is an inventory whose API server does not answer.
type stuck struct{ Inventory }

func (stuck) LiveFacts(ctx context.Context, _ placement.Request) (placement.Facts, error) {
	<-ctx.Done()
	return placement.Facts{}, ctx.Err()
}

// TestTimeIsLimited holds that an API server that does not answer ends as an
// error that kube-scheduler hears, and as no verdict.
func TestTimeIsLimited(t *testing.T) {
	w := quiet(3)
	limits := DefaultLimits()
	limits.Time, limits.Concurrent = 50*time.Millisecond, 1
	s := serve(t, stuck{newInventory(t, w.client())}, limits, ok)
	names := w.names()
	status, answer := s.post(s.scheduler(), "filter", extenderv1.ExtenderArgs{Pod: w.pods[0], NodeNames: &names})
	var result extenderv1.ExtenderFilterResult
	if err := json.Unmarshal([]byte(answer), &result); err != nil {
		t.Fatalf("%d %s: %v", status, answer, err)
	}
	if !strings.Contains(result.Error, context.DeadlineExceeded.Error()) || result.NodeNames != nil {
		t.Errorf("error %q, nodes %v", result.Error, result.NodeNames)
	}
}

func TestHealth(t *testing.T) {
	why := errors.New("the first list is not complete")
	s := serve(t, nil, DefaultLimits(), func() error { return why })
	c := s.client(nil, "") // as a probe has none
	get := func(path string) (int, string) {
		response, err := c.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(text)
	}
	if status, text := get("/livez"); status != http.StatusOK {
		t.Errorf("livez: %d %s", status, text)
	}
	if status, text := get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, why.Error()) {
		t.Errorf("readyz: %d %s", status, text)
	}
	why = nil
	if status, text := get("/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, text)
	}
	s.post(s.client(nil, ""), "filter", nil)
	if _, text := get("/metrics"); !strings.Contains(text, `berth_extender_request_seconds_count{status="403",verb="filter"} 1`) {
		t.Errorf("metrics do not count the refused request:\n%s", text)
	}
}

// TestCertificatesAreReadAgain changes the server's certificate, then puts
// rubbish in its place, then changes the authority of clients.
func TestCertificatesAreReadAgain(t *testing.T) {
	s := serve(t, nil, DefaultLimits(), ok)
	served := func() string {
		response, err := s.client(nil, "").Get(s.url + "/livez")
		if err != nil {
			return err.Error()
		}
		response.Body.Close()
		return response.TLS.PeerCertificates[0].Subject.CommonName
	}
	if name := served(); name != "first" {
		t.Fatalf("served %q, want the first certificate", name)
	}
	s.issueServer("second")
	eventually(t, "the second certificate is served", func() bool { return served() == "second" })

	former := s.client(s.authority, "scheduler")
	s.authority = s.newAuthority()
	s.issueServer("third")
	eventually(t, "a client of the new authority is known", func() bool {
		status, _ := s.post(s.scheduler(), "filter", extenderv1.ExtenderArgs{})
		return status == http.StatusOK
	})
	if status, answer := s.post(former, "filter", extenderv1.ExtenderArgs{}); status == http.StatusOK {
		t.Errorf("a client of the former authority: %d %s", status, answer)
	}
}

// eventually waits for files to be noticed, for which there is nothing to watch.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-limit:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}
