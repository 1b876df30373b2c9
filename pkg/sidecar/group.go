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

// groupOf says in which kind of component the server is, and which history a
// Primary one runs.
func (s *Sidecar) groupOf(ctx context.Context) (word, history string) {
	status, err := s.Server.Status(ctx)
	switch {
	case err != nil:
		return starting, ""
	case status.InPrimary():
		return inPrimary, status.UUID
	}
	return nonPrimary, ""
}

func (s *Sidecar) serveGroup(w http.ResponseWriter, r *http.Request) {
	word, history := s.groupOf(r.Context())
	fmt.Fprintln(w, word, history)
}

// OutsidePrimary asks the sidecar at an address whether its server is in no
// Primary component. Only its word counts: where none answers, its server is not
// known to be outside.
func OutsidePrimary(ctx context.Context, address string) bool {
	word, _ := ask(ctx, address)
	return word == nonPrimary || word == starting
}

// PrimaryHistory asks the sidecar at an address for the history that its server
// runs in a Primary component.
func PrimaryHistory(ctx context.Context, address string) (history string, primary bool) {
	word, history := ask(ctx, address)
	return history, word == inPrimary && history != ""
}

// ask gives the two words of /group, empty when none answers.
func ask(ctx context.Context, address string) (word, history string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/group", nil)
	if err != nil {
		return "", ""
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil || response.StatusCode != http.StatusOK {
		return "", ""
	}
	word, history, _ = strings.Cut(strings.TrimSpace(string(body)), " ")
	return word, history
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
		if word, _ := s.groupOf(ctx); word != nonPrimary {
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
