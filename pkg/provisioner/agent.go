package provisioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"

	"github.com/berth-dev/berth/pkg/lvm"
	"github.com/berth-dev/berth/pkg/lvm/filesystem"
	"github.com/berth-dev/berth/pkg/volume"
)

// Config is what an agent needs to know.
type Config struct {
	// Node is the name of the Node object of this machine.
	Node string
	// Interval between two passes when nothing happens.
	Interval time.Duration
	Links    Links
	Client   kubernetes.Interface
	// Runner runs the storage commands of this machine.
	Runner lvm.Runner
	// Storage has a group beside those of lvm, if there is one.
	Storage []lvm.Option
	Metrics *Metrics
	Clock   clock.Clock
	Trash   TrashPolicy
	// Writers is how many PersistentVolumes a pass writes at the same time; zero means
	// DefaultWriters. With one, calls of lvm and of the API follow each other.
	Writers int
	// Private looks for what lvm does not share with the machine, see
	// lvm.SelfTest; while there is anything, the agent writes nothing. None means
	// that nothing is looked for.
	Private func(context.Context) []lvm.Finding
	// Watch tells of each change of a volume group on this machine, see
	// lvm.SelfTest.Watch. None means that changes by others are seen at the next
	// interval.
	Watch func(ctx context.Context, changed func(vg string, seqno int)) error
}

// view is what the agent reads of the API, from informers' caches.
type view struct {
	pvs        cache.Indexer // with the indexes byLVUUID and byClaim
	claims     corelisters.PersistentVolumeClaimLister
	classes    storagelisters.StorageClassLister
	nodes      corelisters.NodeLister // holds this node only
	pods       corelisters.PodLister  // holds those of this node only
	capacities storagelisters.CSIStorageCapacityLister
}

// Agent looks after the volumes of one node.
type Agent struct {
	view
	node     string
	interval time.Duration
	writers  int
	links    Links
	client   kubernetes.Interface
	run      lvm.Runner
	lvm      *lvm.System
	metrics  *Metrics
	clock    clock.Clock
	events   record.EventRecorder
	watch    func(ctx context.Context, changed func(vg string, seqno int)) error

	wake     chan struct{}
	lastPass atomic.Pointer[passResult]
	// groups holds the UUIDs of the volume groups seen here, to tell the PVs
	// that matter from those of other nodes.
	groups sync.Map
	// ask has the library look at a PV, see askAgain.
	ask func(pv *corev1.PersistentVolume)

	// mu is held by whoever works on the disks: a pass, or a claim being served, but
	// for the time in which its file system is made.
	mu sync.Mutex
	// acts is how many are in hand or wait for mu; unlock lets other processes in, and
	// is nil while they may be.
	acts   atomic.Int64
	unlock func()
	making making
	// shared is a report that is still true, or nil.
	shared *seen
	// seqnos are those of the volume groups' metadata in the last report, by name.
	seqnos map[string]int
	// present are the volumes of the last pass, by LV UUID.
	present map[string]bool
	notices *notices
	// verified holds the UUIDs of the volumes whose content was seen to be right
	// since this process started.
	verified map[string]bool
	// ahead holds what probes of many volumes at once found, by LV UUID; it ends
	// with the pass.
	ahead map[string]filesystem.Content
	// zeroed holds how many bytes of a volume in the trash are zeroed.
	zeroed      map[string]int64
	trashPolicy TrashPolicy
	safety      *safety
	// began is when the present pass did.
	began  time.Time
	lonely lonely
	// recorded is when the homes on a volume group were last written, by its UUID.
	recorded map[string]time.Time
	// remembered are homes in groups that are not here, by claim, as of the last report.
	remembered map[string][]volume.Home
	stranded   stranded
	// life is the API server of which the caches are, see vouch; vouched is that
	// nothing asks for finding out again.
	life    string
	vouched bool
}

type passResult struct{ err error }

// Tune makes a connection to the API server fit for an agent: the burst lets a
// thousand volumes be published again as fast as their few writers are answered,
// and what comes after them is slowed down.
func Tune(config *rest.Config) {
	config.QPS, config.Burst = 200, 1200
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
}

const (
	// settleTime lets a burst of events become one pass; three of them are the most
	// that a burst of claims holds one up.
	settleTime = 500 * time.Millisecond
	// retryTime is how soon a pass that ended early is tried again.
	retryTime = 2 * time.Second
	// claimsAtOnce is how many are served beside each other: while one waits for its
	// file system, others are looked at. Those that were asked for before a report was
	// share it.
	claimsAtOnce = 8
	// resync has the library look again at claims that it has let go.
	resync = 15 * time.Minute
)

func newAgent(cfg Config, v view, events record.EventRecorder) *Agent {
	run, safety := cfg.Metrics.Metered(cfg.Runner), newSafety(cfg.Private)
	a := &Agent{
		view: v, node: cfg.Node, interval: cfg.Interval, writers: cmp.Or(cfg.Writers, DefaultWriters), links: cfg.Links, client: cfg.Client,
		run: run, safety: safety, metrics: cfg.Metrics, clock: cfg.Clock, events: events, watch: cfg.Watch,
		wake: make(chan struct{}, 1), ask: func(*corev1.PersistentVolume) {}, notices: newNotices(events), verified: map[string]bool{},
		making: newMaking(), zeroed: map[string]int64{}, trashPolicy: cfg.Trash.orDefault(), recorded: map[string]time.Time{},
	}
	waiting := cfg.Metrics.waiting(cfg.Clock)
	a.lvm = lvm.New(run, append(slices.Clone(cfg.Storage),
		lvm.Guarded(func() error { a.touched(); return safety.refuses() }),
		lvm.Waiting(func(vg string) func() { a.touched(); return waiting(vg) }))...)
	return a
}

// Service is an agent with its connection to the API.
type Service struct {
	agent       *Agent
	informers   []informers.SharedInformerFactory
	synced      []cache.InformerSynced
	provisioner *controller.ProvisionController
	broadcaster record.EventBroadcaster
}

// New connects an agent to the API.
func New(ctx context.Context, cfg Config) (*Service, error) {
	all := informers.NewSharedInformerFactory(cfg.Client, resync)
	own := informers.NewSharedInformerFactoryWithOptions(cfg.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, cfg.Node).String()
	}))
	onNode := informers.NewSharedInformerFactoryWithOptions(cfg.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", cfg.Node).String()
	}))
	system := informers.NewSharedInformerFactoryWithOptions(cfg.Client, 0, informers.WithNamespace(volume.SystemNamespace))
	pvs, claims := all.Core().V1().PersistentVolumes().Informer(), all.Core().V1().PersistentVolumeClaims().Informer()
	classes, nodes := all.Storage().V1().StorageClasses(), own.Core().V1().Nodes()
	pods := onNode.Core().V1().Pods()
	capacities := system.Storage().V1().CSIStorageCapacities()
	if err := pvs.AddIndexers(cache.Indexers{byLVUUID: indexByLVUUID, byClaim: indexByClaim}); err != nil {
		return nil, fmt.Errorf("index PVs: %w", err)
	}

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: cfg.Client.CoreV1().Events("")})
	events := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: volume.Provisioner, Host: cfg.Node})
	agent := newAgent(cfg, view{
		pvs: pvs.GetIndexer(), claims: corelisters.NewPersistentVolumeClaimLister(claims.GetIndexer()), classes: classes.Lister(), nodes: nodes.Lister(), pods: pods.Lister(), capacities: capacities.Lister(),
	}, events)

	if _, err := pvs.AddEventHandler(agent.wakeOn(agent.isOwnPV)); err != nil {
		return nil, fmt.Errorf("watch PVs: %w", err)
	}
	if _, err := claims.AddEventHandler(agent.wakeOn(agent.isGrowing)); err != nil {
		return nil, fmt.Errorf("watch claims: %w", err)
	}
	if _, err := classes.Informer().AddEventHandler(agent.wakeOn(func(any) bool { return true })); err != nil {
		return nil, fmt.Errorf("watch StorageClasses: %w", err)
	}

	if _, err := pods.Informer().AddEventHandler(agent.wakeOn(agent.isBypassing)); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}

	s := &Service{
		agent:       agent,
		broadcaster: broadcaster,
		informers:   []informers.SharedInformerFactory{all, own, onNode, system},
		synced: []cache.InformerSynced{
			pvs.HasSynced, claims.HasSynced, classes.Informer().HasSynced, nodes.Informer().HasSynced, pods.Informer().HasSynced, capacities.Informer().HasSynced,
		},
	}
	asked := &asking{SharedIndexInformer: pvs}
	agent.ask = asked.again
	s.provisioner = controller.NewProvisionController(klog.FromContext(ctx), cfg.Client, volume.Provisioner, agent,
		// One agent a node acts on its own claims; there is nothing to elect.
		controller.LeaderElection(false),
		controller.ClaimsInformer(claims), controller.VolumesInformer(asked), controller.ClassesInformer(classes.Informer()),
		// The queue store saves a PV for as long as it takes. The default store
		// gives up after a minute and deletes the volume.
		controller.CreateProvisionedPVLimiter(retry()),
		controller.RateLimiter(retry()),
		controller.FailedProvisionThreshold(0), controller.FailedDeleteThreshold(0),
		controller.Threadiness(claimsAtOnce), controller.ResyncPeriod(resync),
	)
	return s, nil
}

// retry starts within a second and never gives up.
func retry() workqueue.TypedRateLimiter[any] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[any](500*time.Millisecond, time.Minute)
}

// Run serves until the context ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.broadcaster.Shutdown()
	for _, factory := range s.informers {
		factory.Start(ctx.Done())
	}
	if !cache.WaitForCacheSync(ctx.Done(), s.synced...) {
		return fmt.Errorf("read the API: %w", ctx.Err())
	}
	s.agent.test(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.provisioner.Run(ctx) })
	wg.Go(func() { s.agent.watchGroups(ctx) })
	s.agent.loop(ctx)
	wg.Wait()
	for _, factory := range s.informers {
		factory.Shutdown()
	}
	return nil
}

var errNoPass = errors.New("no pass has ended yet")

// Healthy returns what went wrong in the last pass, or why nothing may be written.
func (s *Service) Healthy() error {
	last := s.agent.lastPass.Load()
	if last == nil {
		return errNoPass
	}
	return errors.Join(last.err, s.agent.safety.refuses())
}

// loop makes a pass at once, then at each interval and after each Wake.
func (a *Agent) loop(ctx context.Context) {
	logger := klog.FromContext(ctx)
	for {
		pause := a.interval
		if err := a.Pass(ctx); err != nil && ctx.Err() == nil {
			logger.Error(err, "Pass over the node ended early", "node", a.node)
			pause = min(pause, retryTime)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.clock.After(pause):
		case <-a.wake:
			// While claims are served each has something to publish.
			for pauses := 0; pauses < 1 || pauses < 3 && a.acts.Load() > 0; pauses++ {
				select {
				case <-ctx.Done():
					return
				case <-a.clock.After(settleTime):
				}
			}
		}
	}
}

// Wake asks for a pass soon. It never blocks.
func (a *Agent) Wake() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Agent) wakeOn(matters func(obj any) bool) cache.ResourceEventHandler {
	return cache.FilteringResourceEventHandler{
		FilterFunc: matters,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { a.Wake() },
			UpdateFunc: func(any, any) { a.Wake() },
			DeleteFunc: func(any) { a.Wake() },
		},
	}
}

func (a *Agent) isOwnPV(obj any) bool {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	pv, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return false
	}
	_, here := a.groups.Load(pv.Annotations[volume.AnnotationVGUUID])
	return here
}

// isGrowing tells a claim that is bound here and asks for more than it has.
func (a *Agent) isGrowing(obj any) bool {
	claim, ok := obj.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.VolumeName == "" || requested(claim) <= claim.Status.Capacity.Storage().Value() {
		return false
	}
	pv, exists, err := a.pvs.GetByKey(claim.Spec.VolumeName)
	return err == nil && exists && a.isOwnPV(pv)
}
