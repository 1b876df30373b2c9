package loopback

import (
	"bytes"
	"context"
	"fmt"
	"sync"
)

// Journal is what a member's containers print.
type Journal struct {
	mutex   sync.Mutex
	content []byte
	changed chan struct{} // closed and made anew by each write
}

// Write takes output of a container.
func (j *Journal) Write(p []byte) (int, error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.content = append(j.content, p...)
	close(j.changed)
	j.changed = make(chan struct{})
	return len(p), nil
}

// Mark is the present end.
func (j *Journal) Mark() int {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return len(j.content)
}

// Since is what was printed after a mark.
func (j *Journal) Since(mark int) string {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return string(j.content[mark:])
}

// Has says whether a text was printed after a mark.
func (j *Journal) Has(mark int, text string) bool {
	found, _ := j.look(mark, text)
	return found
}

func (j *Journal) look(mark int, text string) (found bool, changed <-chan struct{}) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return bytes.Contains(j.content[mark:], []byte(text)), j.changed
}

// Await returns when a text is printed after a mark.
func (j *Journal) Await(ctx context.Context, mark int, text string) error {
	for {
		found, changed := j.look(mark, text)
		if found {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %q in the log: %w", text, ctx.Err())
		case <-changed:
		}
	}
}
