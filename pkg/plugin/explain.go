package plugin

import (
	"encoding/json"
	"net/http"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-dev/berth/pkg/placement"
)

// ExplainPath is where a scheduler explains: GET with parameters namespace and pod.
const ExplainPath = "/explain"

// Explanation is what a running scheduler knows about a pod's place.
type Explanation struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	// Scheduler is the profile that the pod asks for.
	Scheduler string `json:"scheduler"`
	// BoundTo is the node that the pod has already.
	BoundTo string `json:"boundTo,omitempty"`
	// LastTold is what the pod was last told, by all plugins together.
	LastTold string `json:"lastTold,omitempty"`
	// Ours is false for a pod without volumes of Berth, which this plugin lets pass.
	Ours bool `json:"ours"`
	placement.Explanation
}

// Explain decides on the pod once more, and tells of every node why.
func (p *VolumeHome) Explain(pod *corev1.Pod) Explanation {
	e := Explanation{
		Namespace: pod.Namespace, Pod: pod.Name, Scheduler: pod.Spec.SchedulerName,
		BoundTo: pod.Spec.NodeName, LastTold: lastTold(pod),
	}
	request, reason := p.inventory.Request(pod)
	if reason != nil {
		e.Ours, e.Action, e.Reason = true, placement.Refuse, reason
		return e
	}
	if e.Ours = len(request.Claims) > 0; !e.Ours {
		return e
	}
	facts := p.inventory.Facts(request)
	names, silent := p.inventory.NodeNames()
	rooms := make([]placement.Room, len(names))
	for i, name := range names {
		rooms[i] = p.inventory.Room(name)
	}
	e.Explanation = placement.Explain(request, facts, rooms, silent)
	return e
}

func lastTold(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}

// ServeHTTP answers at ExplainPath with an Explanation as JSON.
func (p *VolumeHome) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.FormValue("namespace"), r.FormValue("pod")
	if r.Method != http.MethodGet || r.URL.Path != ExplainPath || namespace == "" || name == "" {
		http.Error(w, "ask with GET "+ExplainPath+"?namespace=NAMESPACE&pod=POD", http.StatusBadRequest)
		return
	}
	o, exists, err := p.pods.GetByKey(namespace + "/" + name)
	pod, is := o.(*corev1.Pod)
	if err != nil || !exists || !is {
		http.Error(w, "the scheduler knows no pod "+namespace+"/"+name+" that is not finished", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(p.Explain(pod)); err != nil {
		return // whoever asked has gone
	}
}
