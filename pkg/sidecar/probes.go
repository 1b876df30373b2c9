package sidecar

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/berth-dev/berth/pkg/datadir"
	"github.com/berth-dev/berth/pkg/wsrep"
)

// Handle adds the probes to a mux.
func (s *Sidecar) Handle(mux *http.ServeMux) {
	mux.HandleFunc("/livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		status, err := s.Server.Status(r.Context())
		if reason := s.unready(status, err); reason != "" {
			http.Error(w, reason, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/group", s.serveGroup)
	mux.Handle("/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}))
}

// unready says why the server must not serve clients now. A server that has just
// become fit may have received all its data a moment ago: it is on disk before
// anybody relies on it.
func (s *Sidecar) unready(status wsrep.Status, err error) string {
	reason := ""
	if err != nil {
		reason = err.Error()
	} else if reason = status.Unfit(); reason == "" {
		reason = s.stranger(status)
	}
	switch {
	case reason != "":
		s.settled.Store(false)
	case !s.settled.Load():
		if err := s.Flush(); err != nil {
			return err.Error()
		}
		s.settled.Store(true)
	}
	return reason
}

// stranger says that the server is in another cluster than its volume's lineage.
func (s *Sidecar) stranger(status wsrep.Status) string {
	lineage, err := datadir.ReadLineage(s.Volume.Lineage())
	switch {
	case err != nil:
		return err.Error()
	case lineage != nil && lineage.Newest().Begin.UUID != status.UUID:
		return fmt.Sprintf("the server runs history %s, the volume's lineage says %s", status.UUID, lineage.Newest().Begin.UUID)
	}
	return ""
}
