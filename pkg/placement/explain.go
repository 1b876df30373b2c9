package placement

// Explanation is a Verdict for people: what holds for the pod, and for each node.
type Explanation struct {
	Action Action       `json:"action"`
	Node   string       `json:"node,omitempty"` // to which the pod is pinned
	Reason *Reason      `json:"reason,omitempty"`
	Claims []ClaimState `json:"claims"`
	Nodes  []NodeState  `json:"nodes"`
}

// ClaimState is where a claim's data is.
type ClaimState struct {
	Claim  string   `json:"claim"`
	Volume string   `json:"volume,omitempty"` // "" when there is none
	Nodes  []string `json:"nodes,omitempty"`  // that carry the volume's group
}

// NodeState is what holds for one node.
type NodeState struct {
	Node     string `json:"node"`
	Fits     bool   `json:"fits"`
	Code     Code   `json:"code,omitempty"`
	Text     string `json:"text,omitempty"`
	Score    int64  `json:"score"` // 0 to 100, among those that fit
	Free     int64  `json:"freeBytes"`
	Promised int64  `json:"promisedBytes"`
	Members  int    `json:"members"`
}

// Explain decides and tells of every room why. silent are the nodes that have not
// reported.
func Explain(r Request, f Facts, rooms []Room, silent map[string]bool) Explanation {
	v := Decide(r, f)
	e := Explanation{Action: v.Action, Node: v.Node, Claims: claimStates(r, f)}
	if v.Action == Refuse {
		e.Reason = &v.Reason
	}
	var fitting []Judgement
	for _, room := range rooms {
		n, j := v.about(room, silent[room.Node])
		e.Nodes = append(e.Nodes, n)
		if n.Fits && v.Action == Allow {
			fitting = append(fitting, j)
		}
	}
	scores := Scores(fitting)
	for i := range e.Nodes {
		if e.Nodes[i].Fits && v.Action == Allow {
			e.Nodes[i].Score, scores = scores[0], scores[1:]
		}
	}
	return e
}

// about tells what the verdict means for one node.
func (v Verdict) about(room Room, silent bool) (NodeState, Judgement) {
	n := NodeState{Node: room.Node}
	for _, p := range room.Pools {
		n.Free, n.Promised, n.Members = n.Free+p.Free, n.Promised+p.Promised, n.Members+p.Members
	}
	j := Judgement{}
	switch {
	case v.Action == Pin && room.Node == v.Node:
		j.Fits = true
	case v.Action == Refuse && room.Node == v.Reason.Node:
		j.Reason = v.Reason
	case v.Action == Refuse && silent:
		j.Reason = Silent(room.Node)
	case v.Action == Refuse && v.Reason.Node != "" && v.Reason.Volume != "":
		j.Reason = DataElsewhere(v.Reason.Node)
	case v.Action == Allow:
		j = v.Judge(room)
	case v.Action == Pin:
		j.Reason = DataElsewhere(v.Node)
	default:
		j.Reason = Reason{Code: v.Reason.Code, Text: "the pod waits, whatever this node offers"}
	}
	n.Fits, n.Code, n.Text = j.Fits, j.Reason.Code, j.Reason.Text
	return n, j
}

func claimStates(r Request, f Facts) []ClaimState {
	states := make([]ClaimState, 0, len(r.Claims))
	for _, c := range r.Claims {
		s := ClaimState{Claim: c.String()}
		if v, _ := volumeOf(c, f.Volumes); v != nil {
			s.Volume, s.Nodes = v.Name, v.Nodes
		} else if c.SelectedNode != "" {
			s.Nodes = []string{c.SelectedNode}
		}
		states = append(states, s)
	}
	return states
}
