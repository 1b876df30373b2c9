package main

import (
	"context"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedcore "k8s.io/client-go/kubernetes/typed/core/v1"
	typedstorage "k8s.io/client-go/kubernetes/typed/storage/v1"

	"github.com/berth-dev/berth/pkg/volume"
)

// clouds are the watches through which events come, in place of the fake's own,
// whose buffers would overflow. A watcher takes an event when its informer does.
type clouds struct {
	volumes, capacities *watch.FakeWatcher
	revision            int
}

func newClouds() *clouds { return &clouds{volumes: watch.NewFake(), capacities: watch.NewFake()} }

// drain takes events that are for nobody.
func drain(ctx context.Context, w watch.Interface) {
	for {
		select {
		case <-w.ResultChan():
		case <-ctx.Done():
			return
		}
	}
}

// storm sends events until the context ends, and says how many were taken. They
// change what is there and add nothing.
func (c *clouds) storm(ctx context.Context, w world, rate int) int {
	const beat = 2 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	sent, begun := 0, time.Now()
	for {
		select {
		case <-ctx.Done():
			return sent
		case <-tick.C:
		}
		// What is due, so that late beats are made up for, but never more than 100 ms.
		due := int(time.Since(begun).Seconds() * float64(rate))
		sent = max(sent, due-rate/10)
		for ; sent < due; sent++ {
			c.send(w, sent)
		}
	}
}

func (c *clouds) send(w world, n int) {
	c.revision++
	if n%2 == 0 {
		pv := w.retained(member{"db", n / 2 % w.volumes})
		pv.ResourceVersion = strconv.Itoa(1_000_000 + c.revision)
		pv.Annotations[volume.AnnotationVGSeqno] = strconv.Itoa(8 + c.revision%2)
		c.volumes.Modify(pv)
		return
	}
	o := capacity(n / 2 % w.nodes)
	o.ResourceVersion = strconv.Itoa(1_000_000 + c.revision)
	o.Annotations[volume.AnnotationVGSeqno] = strconv.Itoa(9 + c.revision%2)
	c.capacities.Modify(o)
}

// overhead is a client whose watches of volumes and capacities are the clouds.
type overhead struct {
	parkedClient
	clouds *clouds
}

func (c overhead) CoreV1() typedcore.CoreV1Interface {
	return overheadCore{c.parkedClient.CoreV1(), c.clouds}
}

func (c overhead) StorageV1() typedstorage.StorageV1Interface {
	return overheadStorage{c.parkedClient.StorageV1(), c.clouds}
}

type overheadCore struct {
	typedcore.CoreV1Interface
	clouds *clouds
}

func (c overheadCore) PersistentVolumes() typedcore.PersistentVolumeInterface {
	return overheadVolumes{c.CoreV1Interface.PersistentVolumes(), c.clouds}
}

type overheadVolumes struct {
	typedcore.PersistentVolumeInterface
	clouds *clouds
}

func (c overheadVolumes) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.clouds.volumes, nil
}

type overheadStorage struct {
	typedstorage.StorageV1Interface
	clouds *clouds
}

func (c overheadStorage) CSIStorageCapacities(namespace string) typedstorage.CSIStorageCapacityInterface {
	return overheadCapacities{c.StorageV1Interface.CSIStorageCapacities(namespace), c.clouds}
}

type overheadCapacities struct {
	typedstorage.CSIStorageCapacityInterface
	clouds *clouds
}

func (c overheadCapacities) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	return c.clouds.capacities, nil
}
