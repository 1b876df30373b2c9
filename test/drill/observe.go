package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-dev/berth/pkg/galeracluster"
	"github.com/berth-dev/berth/pkg/rebuild"
)

// The workload of manifests/galera.
const (
	namespace   = "galera"
	statefulSet = "galera"
	container   = "mariadb"
	replicas    = 3
)

func member(ordinal int) string { return statefulSet + "-" + strconv.Itoa(ordinal) }
func claim(member string) string {
	return "data-" + member
}

// observer reads what the drill needs to know.
type observer struct {
	cluster Cluster
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

func newObserver(c Cluster) (*observer, error) {
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &observer{cluster: c, client: client, dynamic: objects}, nil
}

// pods are the members' pods that have a node, by name.
func (o *observer) pods(ctx context.Context) (map[string]corev1.Pod, error) {
	list, err := o.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=galera"})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	pods := map[string]corev1.Pod{}
	for _, pod := range list.Items {
		pods[pod.Name] = pod
	}
	return pods, nil
}

// addresses are those of the members whose server container runs.
func (o *observer) addresses(ctx context.Context) ([]string, error) {
	pods, err := o.pods(ctx)
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, pod := range pods {
		running := slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == container && s.State.Running != nil
		})
		if running && pod.Status.PodIP != "" {
			addresses = append(addresses, pod.Status.PodIP)
		}
	}
	slices.Sort(addresses)
	return addresses, nil
}

// places finds the members' logical volumes on the disks of all nodes, by the
// tags that Berth writes, and asks no API object.
func (o *observer) places(ctx context.Context, nodes []string) (map[string]Place, error) {
	places := map[string]Place{}
	for _, node := range nodes {
		out, err := o.cluster.Exec(ctx, node, "lvs", "--reportformat", "json", "-o", "lv_uuid,lv_tags")
		if err != nil {
			return nil, fmt.Errorf("read logical volumes of %s: %w", node, err)
		}
		var report struct {
			Report []struct {
				LV []struct {
					UUID string `json:"lv_uuid"`
					Tags string `json:"lv_tags"`
				} `json:"lv"`
			} `json:"report"`
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			return nil, fmt.Errorf("read logical volumes of %s: %w", node, err)
		}
		for _, r := range report.Report {
			for _, lv := range r.LV {
				tags := strings.Split(lv.Tags, ",")
				for i := range replicas {
					name := member(i)
					if slices.Contains(tags, "berth.dev/namespace="+namespace) && slices.Contains(tags, "berth.dev/claim="+claim(name)) {
						places[name] = Place{Node: node, LVUUID: lv.UUID}
					}
				}
			}
		}
	}
	return places, nil
}

// state reads the GaleraCluster object.
func (o *observer) state(ctx context.Context) (rebuild.Cluster, error) {
	return galeracluster.NewStore(o.dynamic, namespace, statefulSet).Get(ctx)
}

// Server is what one mariadbd says of itself.
type Server struct {
	Synced      bool   // in a Primary component, and ready
	ClusterUUID string // the history that it runs
	// OldestCached is the oldest transaction that it could send; 0 when none.
	OldestCached int64
}

// AskServer asks the server at an address for its state.
func AskServer(ctx context.Context, d Dialer, address string) (Server, error) {
	db, err := openServer(d, address)
	if err != nil {
		return Server{}, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_state', 'wsrep_cluster_status', 'wsrep_ready', 'wsrep_cluster_state_uuid', 'wsrep_local_cached_downto')")
	if err != nil {
		return Server{}, fmt.Errorf("ask %s for its state: %w", address, err)
	}
	defer rows.Close()
	status := map[string]string{}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return Server{}, fmt.Errorf("ask %s for its state: %w", address, err)
		}
		status[name] = value
	}
	oldest, _ := strconv.ParseUint(status["wsrep_local_cached_downto"], 10, 64) // ULONG_MAX: nothing cached
	s := Server{
		Synced:      status["wsrep_local_state"] == "4" && status["wsrep_cluster_status"] == "Primary" && status["wsrep_ready"] == "ON",
		ClusterUUID: status["wsrep_cluster_state_uuid"],
	}
	if oldest < 1<<62 {
		s.OldestCached = int64(oldest)
	}
	return s, rows.Err()
}

// log is what the member's server has written since its container started.
func (o *observer) log(ctx context.Context, member string) (string, error) {
	raw, err := o.client.CoreV1().Pods(namespace).GetLogs(member, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("read log of %s: %w", member, err)
	}
	return string(raw), nil
}

// Lines of mariadbd 10.11 with galera-4 and its rsync script that say how a
// server came to its state. "IST received", "Prepared IST receiver" and "SST
// received" do not tell: each is logged in both cases.
var (
	logBootstrap = regexp.MustCompile(`WSREP: Connecting with bootstrap option: 1`)
	logIST       = regexp.MustCompile(`WSREP_SST: \[INFO\] \w+ IST completed on joiner`)
	logSST       = regexp.MustCompile(`WSREP_SST: \[INFO\] \w+ SST completed on joiner`)
	logUpToDate  = regexp.MustCompile(`state transfer needed: no`)
)

// ReadTransfer reads from a server's log how it came to its state.
func ReadTransfer(log string) Transfer {
	switch {
	case logBootstrap.MatchString(log):
		return Bootstrapped
	case logSST.MatchString(log):
		return SST
	case logIST.MatchString(log):
		return IST
	case logUpToDate.MatchString(log):
		return NoTransfer
	}
	return UnknownMove
}
