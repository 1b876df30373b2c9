package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/testbed"
)

// metricsURL is where the agent on the bed's one node shows its metrics.
const metricsURL = "http://10.77.0.11:9750/metrics"

// bed is a test bed of one node, with an agent and nothing else on it.
type bed struct {
	*testbed.Bed
	client *kubernetes.Clientset
	made   int // claims
}

// onBed measures beside the bare commands on a node of the test bed.
func (o options) onBed(ctx context.Context, r *report) (err error) {
	tb, err := testbed.New(filepath.Join(o.build, "bench-bed"), testbed.DefaultPaths(o.build))
	if err != nil {
		return err
	}
	tb.Logf = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	if err := tb.Down(ctx); err != nil { // what a killed run left
		return err
	}
	defer func() { err = errors.Join(err, tb.Down(context.WithoutCancel(ctx))) }()
	if err := tb.Up(ctx, testbed.Config{Nodes: 1, DiskGB: 64}); err != nil {
		return err
	}
	b := &bed{Bed: tb}
	if b.client, err = tb.Client(); err != nil {
		return err
	}
	for _, name := range []string{"namespace.yaml", "storageclass.yaml"} {
		cmd, err := tb.Kubectl(ctx, "apply", "-f", filepath.Join("manifests/base", name))
		if err != nil {
			return err
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apply %s: %w: %s", name, err, out)
		}
	}
	ctx, stop := b.startAgent(ctx)
	defer stop()
	for _, measure := range []func(context.Context, *report, options) error{b.byHand, b.one, b.many} {
		if err := measure(ctx, r, o); err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}

// startAgent runs the agent on the node itself. What is measured with the context
// ends when the agent does.
func (b *bed) startAgent(ctx context.Context) (running context.Context, stop func()) {
	running, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var log bytes.Buffer
		err := b.ExecStream(running, node, []string{agent, "agent", "--node-name=" + node, "--kubeconfig=/run/bed/pki/admin.kubeconfig"}, nil, &log, &log)
		cancel(fmt.Errorf("the agent ended: %w: %s", err, log.Bytes()))
	}()
	return running, func() { cancel(nil); <-done }
}

// agent is its program on the node.
const agent = "/run/bed/bin/lvm-provisioner"

// signal sends a signal to the agent.
func (b *bed) signal(ctx context.Context, name string) error {
	_, err := b.Exec(ctx, node, "pkill", "-"+name, "-x", "-f", agent+" agent .*")
	return err
}

// capacity is the newest report of the node: the metadata's sequence number and
// the bytes that are free; both are 0 before there is any.
func (b *bed) capacity(ctx context.Context) (seqno int, free int64, err error) {
	all, err := b.client.StorageV1().CSIStorageCapacities(volume.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil || len(all.Items) == 0 {
		return 0, 0, err
	}
	seqno, err = strconv.Atoi(all.Items[0].Annotations[volume.AnnotationVGSeqno])
	return seqno, all.Items[0].Capacity.Value(), err
}

// commands counts what the agent has run so far: lvm's commands, and all others.
func (b *bed) commands(ctx context.Context) (lvm, others float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, metricsURL, nil)
	if err != nil {
		return 0, 0, err
	}
	client := http.Client{Transport: &http.Transport{DialContext: b.DialContext, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, 0, fmt.Errorf("read the agent's metrics: %w", err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		labels, value, _ := strings.Cut(lines.Text(), "} ")
		command, is := strings.CutPrefix(labels, `berth_commands_total{command="`)
		if !is {
			continue
		}
		count, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read the agent's metrics: %w", err)
		}
		if command, _, _ = strings.Cut(command, `"`); command == "fullreport" || strings.HasPrefix(command, "lv") || strings.HasPrefix(command, "vg") {
			lvm += count
		} else {
			others += count
		}
	}
	return lvm, others, lines.Err()
}

// clear removes what a round made, and waits until the node says that it has
// nothing left to do.
func (b *bed) clear(ctx context.Context) error {
	everything := metav1.DeleteOptions{}
	if err := b.client.CoreV1().PersistentVolumeClaims("default").DeleteCollection(ctx, everything, metav1.ListOptions{}); err != nil {
		return err
	}
	// The volumes go first: the agent would publish again what is on the disk. It may
	// look at one in that moment, which keeps it.
	var last error
	if err := b.until(ctx, "the volumes are removed", time.Second, func() (bool, error) {
		_, last = b.Exec(ctx, node, "lvm", "lvremove", "-q", "-y", "berth")
		return last == nil, nil
	}); err != nil {
		return errors.Join(err, last)
	}
	// A pass that read the disks before publishes once more what was on them.
	return b.until(ctx, "the node is empty and has said so", time.Second, func() (bool, error) {
		if err := b.client.CoreV1().PersistentVolumes().DeleteCollection(ctx, everything, metav1.ListOptions{}); err != nil {
			return false, err
		}
		return b.empty(ctx)
	})
}

// settled waits until the node is empty and says so.
func (b *bed) settled(ctx context.Context) error {
	return b.until(ctx, "the node is empty and has said so", time.Second, func() (bool, error) { return b.empty(ctx) })
}

// empty says whether no PersistentVolume is left and the node reports its volume
// group as it is now, with nothing in it.
func (b *bed) empty(ctx context.Context) (bool, error) {
	pvs, err := b.client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil || len(pvs.Items) > 0 {
		return false, err
	}
	seqno, free, err := b.capacity(ctx)
	if err != nil || free == 0 {
		return false, err
	}
	out, err := b.Exec(ctx, node, "lvm", "vgs", "--noheadings", "-o", "vg_seqno,lv_count", "berth")
	return strings.Join(strings.Fields(out), " ") == fmt.Sprintf("%d 0", seqno), err
}

// until looks at each interval. Its patience is ctx's.
func (b *bed) until(ctx context.Context, what string, interval time.Duration, happened func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		did, err := happened()
		if did && err == nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-tick.C:
		}
	}
}
