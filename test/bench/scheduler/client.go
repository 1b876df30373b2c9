package main

import (
	"bytes"
	"context"
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// errRoundOver is what parked writes end with: the scheduler then takes its
// assumptions and reservations back, and the next round starts as this one did.
var errRoundOver = errors.New("the round is over")

// parkedClient is a client whose writes for a pod that is being bound wait for
// the end of the round. The fake's own reactors cannot wait: it holds one lock
// for all calls.
type parkedClient struct {
	kubernetes.Interface
	gate *gate
}

func (c parkedClient) CoreV1() typed.CoreV1Interface {
	return parkedCore{c.Interface.CoreV1(), c.gate}
}

// IsWatchListSemanticsUnSupported makes informers list: the fake would have to
// put its whole content into a watch's buffer.
func (c parkedClient) IsWatchListSemanticsUnSupported() bool { return true }

type parkedCore struct {
	typed.CoreV1Interface
	gate *gate
}

func (c parkedCore) Pods(namespace string) typed.PodInterface {
	return parkedPods{c.CoreV1Interface.Pods(namespace), c.gate}
}

func (c parkedCore) PersistentVolumeClaims(namespace string) typed.PersistentVolumeClaimInterface {
	return parkedClaims{c.CoreV1Interface.PersistentVolumeClaims(namespace), c.gate}
}

type parkedPods struct {
	typed.PodInterface
	gate *gate
}

// Bind is the last write of a pod without new volumes.
func (p parkedPods) Bind(ctx context.Context, b *corev1.Binding, _ metav1.CreateOptions) error {
	if p.gate.bound != nil {
		p.gate.bound <- b.Name
	}
	p.gate.wait(ctx)
	return errRoundOver
}

// Patch is the first write of a pod with new volumes: its nominated node. One
// with a condition tells of a refusal, inside the cycle.
func (p parkedPods) Patch(ctx context.Context, _ string, _ types.PatchType, patch []byte, _ metav1.PatchOptions, _ ...string) (*corev1.Pod, error) {
	if !bytes.Contains(patch, []byte(`"conditions"`)) {
		p.gate.wait(ctx)
	}
	return nil, errRoundOver
}

type parkedClaims struct {
	typed.PersistentVolumeClaimInterface
	gate *gate
}

// Update is how VolumeBinding selects a claim's node.
func (p parkedClaims) Update(ctx context.Context, _ *corev1.PersistentVolumeClaim, _ metav1.UpdateOptions) (*corev1.PersistentVolumeClaim, error) {
	p.gate.wait(ctx)
	return nil, errRoundOver
}

// gate holds writes back while it is closed.
type gate struct {
	mu    sync.Mutex
	open  chan struct{}
	bound chan string // hears of every binding, for those who wait for one
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) wait(ctx context.Context) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
	}
}
