package main

import (
	"context"
	"fmt"
	"runtime"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/berth-dev/berth/pkg/inventory"
	"github.com/berth-dev/berth/pkg/placement"
	"github.com/berth-dev/berth/test/figures"
)

// footprint adds what the inventory keeps in memory beside the informers' stores,
// which every scheduler has: the same stores with and without it.
func footprint(report *figures.Report, w world) error {
	without, release, err := heapOf(w, false)
	if err != nil {
		return err
	}
	release()
	with, release, err := heapOf(w, true)
	if err != nil {
		return err
	}
	release()
	report.Add(fmt.Sprintf("%d nodes, %d volumes: memory of the stores", w.nodes, w.volumes), figures.F("mebibytes", without))
	report.Add(fmt.Sprintf("%d nodes, %d volumes: memory of the inventory", w.nodes, w.volumes),
		figures.F("mebibytes", with-without), figures.F(figures.Ratio, (with-without)/without))
	return nil
}

// heapOf is what full stores occupy. The release keeps them alive until it is called.
func heapOf(w world, indexed bool) (mebibytes float64, release func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	client := fake.NewSimpleClientset(w.objects()...)
	before := heap()
	factory := informers.NewSharedInformerFactory(client, 0)
	for _, informer := range []interface{ HasSynced() bool }{
		factory.Core().V1().PersistentVolumes().Informer(), factory.Core().V1().PersistentVolumeClaims().Informer(),
		factory.Core().V1().Nodes().Informer(), factory.Storage().V1().StorageClasses().Informer(),
		factory.Storage().V1().CSIStorageCapacities().Informer(),
	} {
		_ = informer // asking for it is what makes the factory run it
	}
	var i *inventory.Inventory
	if indexed {
		if i, err = inventory.New(client, factory); err != nil {
			cancel()
			return 0, nil, err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if indexed {
		if err := i.Prove(ctx); err != nil {
			cancel()
			return 0, nil, err
		}
		i.Facts(placement.Request{Member: placement.Member{Namespace: namespace, StatefulSet: "db0"}})
	}
	client.ClearActions()
	return heap() - before, func() { cancel(); runtime.KeepAlive(factory); runtime.KeepAlive(i); runtime.KeepAlive(client) }, nil
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}
