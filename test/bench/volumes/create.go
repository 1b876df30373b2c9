package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/berth-dev/berth/pkg/volume"
	"github.com/berth-dev/berth/test/figures"
)

const (
	// mostOfOne and mostOfMany are what one claim, and many at once, may take of
	// the bare commands' time.
	mostOfOne, mostOfMany = 1.3, 1.15
	// size of each volume, in bytes.
	size = 1 << 30
	// patience is how long one round may take.
	patience = 20 * time.Minute
	// often is how often what is measured in seconds is looked at.
	often = 50 * time.Millisecond
)

// lane collects the figures of each round: seconds of the claims, of the bare
// commands, and from the last PersistentVolume to the capacity that counts all;
// and the commands that the agent ran.
type lane struct{ ours, bare, behind, lvm, others []float64 }

// one measures one claim at a time, in turn with the bare commands.
func (b *bed) one(ctx context.Context, r *report, o options) error {
	l, err := b.rounds(ctx, o.rounds, 1)
	if err != nil {
		return err
	}
	r.row("one claim: created to PersistentVolume published, over lvcreate and mkfs", median(l.ours)/median(l.bare), mostOfOne, l.figures(1)...)
	r.behind("free space that counts the volume, after its PersistentVolume", l.behind)
	return nil
}

// many measures claims at once, in turn with the bare commands one after the other.
func (b *bed) many(ctx context.Context, r *report, o options) error {
	l, err := b.rounds(ctx, o.bursts, o.claims)
	if err != nil {
		return err
	}
	r.row(fmt.Sprintf("%d claims at once, over lvcreate and mkfs one after the other", o.claims), median(l.ours)/median(l.bare), mostOfMany, l.figures(o.claims)...)
	return nil
}

func (l lane) figures(claims int) []figures.Figure {
	each := func(counts []float64) float64 { return round3(median(counts) / float64(claims)) }
	return []figures.Figure{
		figures.F("seconds", round3(median(l.ours))), figures.F("bare_seconds", round3(median(l.bare))), figures.F("rounds", len(l.ours)),
		figures.F("volumes", claims), figures.F("lvm_a_claim", each(l.lvm)), figures.F("others_a_claim", each(l.others)),
	}
}

func (b *bed) rounds(ctx context.Context, rounds, claims int) (lane, error) {
	var l lane
	for i := range rounds {
		if err := b.round(ctx, &l, claims); err != nil {
			return l, fmt.Errorf("round %d of %d claims: %w", i+1, claims, err)
		}
		fmt.Fprintf(os.Stderr, "round %d of %d, claims %d: %.2f s, bare %.2f s, free space %.2f s later; lvm's commands %.0f, others %.0f\n",
			i+1, rounds, claims, l.ours[i], l.bare[i], l.behind[i], l.lvm[i], l.others[i])
	}
	return l, nil
}

func (b *bed) round(ctx context.Context, l *lane, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := b.settled(ctx); err != nil {
		return err
	}
	bare, err := b.bare(ctx, n)
	if err != nil {
		return fmt.Errorf("bare commands: %w", err)
	}
	if err := b.clear(ctx); err != nil {
		return err
	}
	if err := b.claims(ctx, l, n); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	l.bare = append(l.bare, bare)
	return b.clear(ctx)
}

// bareScript makes volumes as the agent does, tags included, with nothing around
// it, and tells how long it took by the node's own clock.
const bareScript = `set -e
begin=$EPOCHREALTIME
for i in $(seq 1 $1); do
	u=$(cat /proc/sys/kernel/random/uuid)
	lvm lvcreate -y --setautoactivation n -W y -Z y -l $2 -n bare$i --addtag a=1 --addtag a=2 --addtag a=3 --addtag a=4 --addtag a=5 \
		--addtag a=6 --addtag a=7 --addtag a=8 --addtag a=9 --addtag a=10 berth >/dev/null
	mkfs.ext4 -q -m 0 -U $u /dev/mapper/berth-bare$i
done
end=$EPOCHREALTIME
echo $((${end/./} - ${begin/./}))`

// bare runs the commands while the agent stands still: it would look at each change.
func (b *bed) bare(ctx context.Context, n int) (seconds float64, err error) {
	if err := b.signal(ctx, "STOP"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.signal(ctx, "CONT")) }()
	out, err := b.Exec(ctx, node, "bash", "-c", bareScript, "bash", strconv.Itoa(n), strconv.Itoa(size>>22))
	if err != nil {
		return 0, err
	}
	micros, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	return micros / 1e6, err
}

// claims makes claims whose node is selected, and waits for their
// PersistentVolumes, then for the capacity that counts them.
func (b *bed) claims(ctx context.Context, l *lane, n int) error {
	watcher, err := b.client.CoreV1().PersistentVolumes().Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer watcher.Stop()
	lvmBefore, othersBefore, err := b.commands(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	for range n {
		if err := b.claim(ctx); err != nil {
			return err
		}
	}
	names, newest := map[string]bool{}, 0
	for len(names) < n {
		event, open := <-watcher.ResultChan()
		if !open {
			return fmt.Errorf("%d of %d PersistentVolumes: %w", len(names), n, errors.Join(ctx.Err(), errors.New("the watch ended")))
		}
		if pv, is := event.Object.(*corev1.PersistentVolume); is && !names[pv.Name] {
			names[pv.Name] = true
			seqno, err := strconv.Atoi(pv.Annotations[volume.AnnotationVGSeqno])
			if err != nil {
				return err
			}
			newest = max(newest, seqno)
		}
	}
	published := time.Now()
	if err := b.until(ctx, "capacity counts the volumes", often, func() (bool, error) {
		seqno, _, err := b.capacity(ctx)
		return seqno >= newest, err
	}); err != nil {
		return err
	}
	l.ours, l.behind = append(l.ours, published.Sub(begin).Seconds()), append(l.behind, time.Since(published).Seconds())
	lvm, others, err := b.commands(ctx)
	l.lvm, l.others = append(l.lvm, lvm-lvmBefore), append(l.others, others-othersBefore)
	return err
}

func (b *bed) claim(ctx context.Context) error {
	b.made++
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("claim-%d", b.made), Annotations: map[string]string{"volume.kubernetes.io/selected-node": node}},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: ptr.To("berth"), AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(size, resource.BinarySI)}},
		},
	}
	_, err := b.client.CoreV1().PersistentVolumeClaims("default").Create(ctx, claim, metav1.CreateOptions{})
	return err
}

// median of figures.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
