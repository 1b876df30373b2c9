package volume

import (
	"fmt"
	"strconv"
	"strings"
)

// Home says in which volume group a claim's volume lives. Every volume group
// carries the homes of all claims as tags of its own, so that any one storage node
// that returns knows of the others, also when the API server has lost its memory.
type Home struct {
	Namespace, Claim string
	Member           Member
	Generation       int
	VGUUID           string
	// Seqno is the sequence number of that group's metadata when the volume was
	// published: a report with this number or a higher one has the volume in it, or
	// says that it is gone.
	Seqno int
	// APIServer is the API server for which the volume was made.
	APIServer string
}

// HomeTag begins a tag on a volume group that holds a Home.
const HomeTag = TagPrefix + "home="

// HomeOf is where a volume lives.
func HomeOf(v Volume) Home {
	t := v.Tags
	return Home{Namespace: t.Namespace, Claim: t.Claim, Member: t.Member, Generation: t.Generation, VGUUID: v.VGUUID, Seqno: v.VGSeqno, APIServer: t.APIServer}
}

// String is the text of a tag, and of an entry in AnnotationHomes. Slashes and
// colons are in no Kubernetes name, and LVM takes both in a tag, of up to 1,024
// characters; the longest names make some 720.
func (h Home) String() string {
	m := h.Member
	return strings.Join([]string{
		h.Namespace + "/" + h.Claim, m.StatefulSet, strconv.Itoa(m.Ordinal), strconv.Itoa(m.Replicas), strconv.Itoa(h.Generation), strconv.Itoa(h.Seqno), h.VGUUID, h.APIServer,
	}, ":")
}

// ParseHome is the inverse of String.
func ParseHome(text string) (Home, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 8 {
		return Home{}, fmt.Errorf("home %q has %d parts, not 8", text, len(parts))
	}
	var h Home
	var slash bool
	h.Namespace, h.Claim, slash = strings.Cut(parts[0], "/")
	h.Member.StatefulSet, h.VGUUID, h.APIServer = parts[1], parts[6], parts[7]
	for i, to := range []*int{&h.Member.Ordinal, &h.Member.Replicas, &h.Generation, &h.Seqno} {
		n, err := parseDecimal(parts[2+i])
		if err != nil {
			return Home{}, fmt.Errorf("home %q: %w", text, err)
		}
		*to = n
	}
	for _, value := range []string{h.Namespace, h.Claim, h.VGUUID, h.APIServer} {
		if !slash || !legalValue.MatchString(value) {
			return Home{}, fmt.Errorf("home %q: %q is not a name or UUID", text, value)
		}
	}
	if h.Member.StatefulSet == "" && !h.Member.IsZero() || h.Member.StatefulSet != "" && !legalValue.MatchString(h.Member.StatefulSet) {
		return Home{}, fmt.Errorf("home %q: %q is not the name of its StatefulSet", text, h.Member.StatefulSet)
	}
	return h, nil
}
