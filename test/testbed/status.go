package testbed

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Part is one program of a bed: a part of the control plane or a node.
type Part struct {
	Name    string `json:"name"`
	PID     int    `json:"pid"` // on the host; 0 when it does not run
	Address string `json:"address,omitempty"`
	Ready   string `json:"ready,omitempty"` // what the API server says of a node: Ready, NotReady, unknown
}

// Status lists the parts of a bed, the control plane first. It answers also when
// the API server does not.
func (b *Bed) Status(ctx context.Context) ([]Part, error) {
	c, err := b.Config()
	if err != nil {
		return nil, err
	}
	var parts []Part
	for _, name := range controlPlane {
		pid, err := b.process(name)
		if err != nil {
			return nil, err
		}
		parts = append(parts, Part{Name: name, PID: pid, Address: controlAddress})
	}
	readiness := b.readiness(ctx)
	for i, name := range c.NodeNames() {
		pid, err := b.process(name)
		if err != nil {
			return nil, err
		}
		state, known := readiness[name]
		if !known {
			state = "unknown"
		}
		parts = append(parts, Part{Name: name, PID: pid, Address: nodeAddress(i + 1), Ready: state})
	}
	return parts, nil
}

func (b *Bed) readiness(ctx context.Context) map[string]string {
	answers := map[string]string{}
	client, err := b.Client()
	if err != nil {
		return answers
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return answers
	}
	for _, node := range nodes.Items {
		answers[node.Name] = "NotReady"
		if ready(&node) {
			answers[node.Name] = "Ready"
		}
	}
	return answers
}
