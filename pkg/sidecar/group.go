package sidecar

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/berth-dev/berth/pkg/member"
	"github.com/berth-dev/berth/pkg/rebuild"
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

// leave ends a server that has been in no Primary component for the limit, by
// this process's own clock, so that it reports with the others. One that does not
// answer is left alone, for it may be a joiner, unless the object says that there
// is nobody whom it could join.
func (s *Sidecar) leave(ctx context.Context) {
	if s.NonPrimaryLimit == 0 {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var since time.Time // of the first look at which it was outside; zero when it was not
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		word, _ := s.groupOf(ctx)
		if word != nonPrimary && !(word == starting && s.stranded()) {
			since = time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < s.NonPrimaryLimit {
			continue
		}
		s.end(ctx, word, time.Since(since))
		since = time.Time{}
	}
}

func (s *Sidecar) stranded() bool {
	c := s.state.Load()
	return c != nil && rebuild.Stranded(*c, s.Ordinal, s.PodUID)
}

// end shuts the server down; one that takes no connections yet is left to the
// kubelet, which finds the file by the container's liveness probe.
func (s *Sidecar) end(ctx context.Context, word string, outside time.Duration) {
	log := klog.FromContext(ctx)
	log.Info("The server is in no Primary component: it is ended, so that it reports with the others", "group", word, "for", outside.Round(time.Second))
	var err error
	if word == nonPrimary {
		err = s.Server.Shutdown(ctx)
	} else {
		err = os.WriteFile(member.EndFile(s.RunDir), nil, 0o640)
	}
	if err != nil {
		log.Error(err, "The server that is in no Primary component cannot be ended: the others wait for it")
	}
}
