package inventory

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// liveTimeout bounds one question to the API server.
const liveTimeout = 5 * time.Second

// oracle asks the API server who it is: the UID of namespace kube-system, which
// changes when it loses its memory. One answer serves all who asked before the
// question was sent, so that many pods at once cost few reads.
type oracle struct {
	client kubernetes.Interface

	mu      sync.Mutex
	next    *question // collects those who ask while another one is under way
	running bool
}

type question struct {
	done     chan struct{}
	identity string
	err      error
}

// ask returns an answer to a question that was sent after ask was called.
func (o *oracle) ask(ctx context.Context) (string, error) {
	o.mu.Lock()
	if o.next == nil {
		o.next = &question{done: make(chan struct{})}
	}
	q := o.next
	if !o.running {
		o.running = true
		go o.run()
	}
	o.mu.Unlock()
	select {
	case <-q.done:
		return q.identity, q.err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for the API server's identity: %w", ctx.Err())
	}
}

// run sends one question after the other, until nobody asks.
func (o *oracle) run() {
	for {
		o.mu.Lock()
		q := o.next
		o.next = nil
		o.running = q != nil
		o.mu.Unlock()
		if q == nil {
			return
		}
		q.identity, q.err = o.read()
		close(q.done)
	}
}

// read belongs to no caller: its answer is for all of them.
func (o *oracle) read() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), liveTimeout)
	defer cancel()
	system, err := o.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("read the API server's identity: %w", err)
	}
	return string(system.UID), nil
}
