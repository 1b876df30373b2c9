package volume

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// State is where a logical volume stands in its life.
type State string

const (
	// Creating means that the file system is not known to be complete. No PV was
	// ever published, so no data of a user is inside.
	Creating State = "creating"
	// Ready means that the file system was made and seen; data may be inside.
	Ready State = "ready"
)

// Schema is the version of the tags that this program reads and writes. Tags of
// another version are an error and never "no tags": the volume belongs to
// somebody who knows more than we do.
const Schema = 1

// TagPrefix starts every tag that Berth writes. Tags without it are foreign.
const TagPrefix = "berth.dev/"

// ErrNotBerth is returned for a logical volume that carries no tag of Berth.
var ErrNotBerth = errors.New("not a volume of Berth")

// Tags is what is written on a logical volume, inside the lvcreate that makes it.
type Tags struct {
	Namespace string
	Claim     string
	Member    Member
	Class     string
	FSType    string
	// FSUUID is chosen before the file system is made. Finding it on the
	// volume is the proof that the file system is the one that was made for it.
	FSUUID     string
	State      State
	Generation int
	// APIServer is the UID of namespace kube-system of the API server for which
	// the volume was made.
	APIServer string
}

const (
	tagSchema      = "schema"
	tagNamespace   = "namespace"
	tagClaim       = "claim"
	tagStatefulSet = "statefulset"
	tagOrdinal     = "ordinal"
	tagReplicas    = "replicas"
	tagClass       = "class"
	tagFSType      = "fs-type"
	tagFSUUID      = "fs-uuid"
	tagState       = "state"
	tagGeneration  = "generation"
	tagAPIServer   = "api-server"
)

// required tags are in every set; the three of the StatefulSet come all together or not at all.
var (
	required = []string{tagSchema, tagNamespace, tagClaim, tagClass, tagFSType, tagFSUUID, tagState, tagGeneration, tagAPIServer}
	ofMember = []string{tagStatefulSet, tagOrdinal, tagReplicas}
)

// StateTag is the tag that says the state s; a state changes by taking one off
// and putting another on in a single lvchange.
func StateTag(s State) string { return TagPrefix + tagState + "=" + string(s) }

// legalValue is narrower than what LVM allows in a tag (A-Za-z0-9_+.-/=!:#&,
// measured with 2.03.16): Kubernetes names and UUIDs fit as they are.
var legalValue = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// Encode returns the tags in a fixed order.
func (t Tags) Encode() []string {
	tags := []string{
		tag(tagSchema, strconv.Itoa(Schema)),
		tag(tagNamespace, t.Namespace),
		tag(tagClaim, t.Claim),
	}
	if !t.Member.IsZero() {
		tags = append(tags,
			tag(tagStatefulSet, t.Member.StatefulSet),
			tag(tagOrdinal, strconv.Itoa(t.Member.Ordinal)),
			tag(tagReplicas, strconv.Itoa(t.Member.Replicas)),
		)
	}
	return append(tags,
		tag(tagClass, t.Class),
		tag(tagFSType, t.FSType),
		tag(tagFSUUID, t.FSUUID),
		StateTag(t.State),
		tag(tagGeneration, strconv.Itoa(t.Generation)),
		tag(tagAPIServer, t.APIServer),
	)
}

func tag(key, value string) string { return TagPrefix + key + "=" + value }

// DecodeTags reads the tags of a logical volume and ignores foreign ones. It
// returns ErrNotBerth when there are only foreign ones, and another error, all
// problems joined, when tags of Berth are there but do not make sense.
func DecodeTags(raw []string) (Tags, error) {
	values, err := collect(raw)
	if err != nil {
		return Tags{}, err
	}
	if len(values) == 0 {
		return Tags{}, ErrNotBerth
	}
	if schema := values[tagSchema]; schema != strconv.Itoa(Schema) {
		return Tags{}, fmt.Errorf("tags have schema %q, this program knows schema %d: run the version of Berth that wrote them", schema, Schema)
	}
	if err := complete(values); err != nil {
		return Tags{}, err
	}
	t := Tags{
		Namespace: values[tagNamespace],
		Claim:     values[tagClaim],
		Class:     values[tagClass],
		FSType:    values[tagFSType],
		FSUUID:    values[tagFSUUID],
		State:     State(values[tagState]),
		APIServer: values[tagAPIServer],
	}
	var problems []error
	number := func(key string) int {
		n, err := parseDecimal(values[key])
		if err != nil {
			problems = append(problems, fmt.Errorf("tag %s: %w", key, err))
		}
		return n
	}
	t.Generation = number(tagGeneration)
	if set := values[tagStatefulSet]; set != "" {
		t.Member = Member{StatefulSet: set, Ordinal: number(tagOrdinal), Replicas: number(tagReplicas)}
	}
	if t.State != Creating && t.State != Ready {
		problems = append(problems, fmt.Errorf("tag %s: %q is not a state that this program knows", tagState, t.State))
	}
	if err := errors.Join(problems...); err != nil {
		return Tags{}, err
	}
	return t, nil
}

// collect splits Berth's tags into keys and values. Two values for one key are
// an error: either could be the truth.
func collect(raw []string) (map[string]string, error) {
	values := map[string]string{}
	for _, r := range raw {
		text, ours := strings.CutPrefix(r, TagPrefix)
		if !ours {
			continue
		}
		key, value, found := strings.Cut(text, "=")
		if !found || !legalValue.MatchString(value) {
			return nil, fmt.Errorf("tag %q is not of the form %s<key>=<value>", r, TagPrefix)
		}
		if old, twice := values[key]; twice {
			return nil, fmt.Errorf("tag %s is there twice, as %q and %q", key, old, value)
		}
		values[key] = value
	}
	return values, nil
}

func complete(values map[string]string) error {
	var problems []error
	want := required
	for _, key := range ofMember {
		if values[key] != "" {
			want = slices.Concat(required, ofMember)
			break
		}
	}
	for _, key := range want {
		if values[key] == "" {
			problems = append(problems, fmt.Errorf("tag %s is missing", key))
		}
	}
	for key := range values {
		if !slices.Contains(want, key) {
			problems = append(problems, fmt.Errorf("tag %s is not part of schema %d", key, Schema))
		}
	}
	return errors.Join(problems...)
}
