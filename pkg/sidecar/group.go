package sidecar

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/berth-dev/berth/pkg/wsrep"
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
	return groupWord(s.Server.Status(ctx))
}

func groupWord(status wsrep.Status, err error) (word, history string) {
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
