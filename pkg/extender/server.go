package extender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
)

// Limits bound what one request may cost.
type Limits struct {
	// Body is the most bytes of a request. 5,000 node names are 0.3 MB.
	Body int64
	// Time is the longest that a request is worked on. kube-scheduler should wait
	// longer (httpTimeout), so that it hears the reason.
	Time time.Duration
	// Concurrent is how many requests are worked on at once. kube-scheduler has
	// one under way; others wait for their turn as long as Time.
	Concurrent int
}

// DefaultLimits fit clusters of 5,000 nodes and kube-scheduler's default httpTimeout of 5 s.
func DefaultLimits() Limits { return Limits{Body: 4 << 20, Time: 4 * time.Second, Concurrent: 4} }

// Server is the extender as an http.Handler.
type Server struct {
	// Clients are the common names of client certificates that may ask for a
	// verdict. A cluster's certificate authority signs for every kubelet, too.
	Clients []string
	Limits  Limits
	// Ready says why verdicts cannot be given yet.
	Ready func() error

	extender *Extender
	turns    chan struct{}
	requests *prometheus.HistogramVec
}

// NewServer serves the verdicts of e, and numbers about them.
func NewServer(e *Extender, clients []string, limits Limits, ready func() error, registry prometheus.Registerer) *Server {
	s := &Server{
		Clients: clients, Limits: limits, Ready: ready, extender: e,
		turns: make(chan struct{}, limits.Concurrent),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "berth_extender_request_seconds", Help: "Time to answer kube-scheduler, by verb and HTTP status.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"verb", "status"}),
	}
	registry.MustRegister(s.requests)
	return s
}

// Handler routes verbs, for known clients only, and health and metrics, for
// whoever can reach the port, as probes and scrapers have no certificate.
func (s *Server) Handler(gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /filter", s.verb("filter", func(ctx context.Context, args extenderv1.ExtenderArgs) (any, error) {
		return s.extender.Filter(ctx, args), nil
	}))
	mux.HandleFunc("POST /prioritize", s.verb("prioritize", func(ctx context.Context, args extenderv1.ExtenderArgs) (any, error) {
		return s.extender.Prioritize(ctx, args)
	}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return mux
}

// refusal is an answer other than a verdict.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

// verb wraps one of the extender's verbs in what keeps it safe.
func (s *Server) verb(name string, answer func(context.Context, extenderv1.ExtenderArgs) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		begun, status := time.Now(), http.StatusOK
		body, err := s.answer(w, r, answer)
		if err != nil {
			status = http.StatusInternalServerError
			if no, is := errors.AsType[refusal](err); is {
				status = no.status
			}
			http.Error(w, err.Error(), status)
		} else {
			// With its length known, the connection is kept for the next request.
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body) // who does not read the answer asks again
		}
		s.requests.WithLabelValues(name, strconv.Itoa(status)).Observe(time.Since(begun).Seconds())
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, answer func(context.Context, extenderv1.ExtenderArgs) (any, error)) ([]byte, error) {
	if !s.known(r) {
		return nil, refusal{http.StatusForbidden, fmt.Sprintf("give a client certificate with one of the common names %q, signed by the extender's client CA", s.Clients)}
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Limits.Time)
	defer cancel()
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, refusal{http.StatusServiceUnavailable, fmt.Sprintf("no turn within %s: %d requests are under way", s.Limits.Time, s.Limits.Concurrent)}
	}
	var args extenderv1.ExtenderArgs
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, s.Limits.Body)).Decode(&args); err != nil {
		if _, is := errors.AsType[*http.MaxBytesError](err); is {
			return nil, refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is longer than %d bytes: is nodeCacheCapable: true set?", s.Limits.Body)}
		}
		return nil, refusal{http.StatusBadRequest, fmt.Sprintf("read the request: %v", err)}
	}
	result, err := answer(ctx, args)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// known says that the peer has shown a certificate that was verified and is one
// of the clients.
func (s *Server) known(r *http.Request) bool {
	return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && slices.Contains(s.Clients, r.TLS.VerifiedChains[0][0].Subject.CommonName)
}
