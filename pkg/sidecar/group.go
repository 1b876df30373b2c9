package sidecar

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

// Answers of /group.
const (
	inPrimary  = "Primary"
	nonPrimary = "non-Primary"
	starting   = "starting" // the server does not answer: it starts, or is being filled
)

// groupOf says in which kind of component the server is.
func (s *Sidecar) groupOf(ctx context.Context) string {
	status, err := s.Server.Status(ctx)
	switch {
	case err != nil:
		return starting
	case status.InPrimary():
		return inPrimary
	}
	return nonPrimary
}

func (s *Sidecar) serveGroup(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, s.groupOf(r.Context()))
}

// OutsidePrimary asks the sidecar at an address whether its server is in no
// Primary component. Only its word counts: where none answers, its server is not
// known to be outside.
func OutsidePrimary(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/group", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil || response.StatusCode != http.StatusOK {
		return false
	}
	word := strings.TrimSpace(string(body))
	return word == nonPrimary || word == starting
}

// lookEvery is the time between two looks of leave.
const lookEvery = time.Second

// leave shuts the server down when it has been in no Primary component for the
// limit, by this process's own clock. A server that does not answer is left
// alone: it may be a joiner.
func (s *Sidecar) leave(ctx context.Context) {
	if s.NonPrimaryLimit == 0 {
		return
	}
	log := klog.FromContext(ctx)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var since time.Time // of the first look at which it was outside; zero when it was not
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.groupOf(ctx) != nonPrimary {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < s.NonPrimaryLimit {
			continue
		}
		log.Info("The server is in no Primary component: it is shut down, so that it reports with the others", "for", time.Since(since).Round(time.Second))
		if err := s.Server.Shutdown(ctx); err != nil {
			log.Error(err, "The server that is in no Primary component cannot be shut down: the others wait for it")
		}
		since = time.Time{}
	}
}
