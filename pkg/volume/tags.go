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
	// Superseded means that the claim has a volume of a higher generation, or that
	// a person gave this one up. The data is kept and not served.
	Superseded State = "superseded"
	// Trash means that the volume was deleted with proof. The data is kept until
	// the deadline in Retirement.
	Trash State = "trash"
	// Wiping means that the deadline is over and that the blocks are being wiped, or
	// about to be. It is written before the first one is: nothing is left to have back.
	Wiping State = "wiping"
)

// Deleted tells whether the volume was deleted with proof: no claim's any more,
// and with a Retirement.
func (s State) Deleted() bool { return s == Trash || s == Wiping }

// Wipe is what is done to a volume's blocks before their space is given back.
type Wipe string

const (
	WipeNone       Wipe = "none"       // the next owner's volume shows the old blocks
	WipeSignatures Wipe = "signatures" // nothing is recognised, blocks stay
	WipeDiscard    Wipe = "discard"    // the device is told to forget them
	WipeZero       Wipe = "zero"       // every block is written
)

// Wipes are all policies, the default first.
var Wipes = []Wipe{WipeSignatures, WipeNone, WipeDiscard, WipeZero}

// Retirement is written on a volume in the change that puts it into the trash, and
// stays while it is being wiped.
type Retirement struct {
	// At and Deadline are seconds since 1970 by the node's clock.
	At, Deadline int64
	Wipe         Wipe
}

// Encode returns the tags that a retirement adds to a volume's own.
func (r Retirement) Encode() []string {
	return []string{
		tag(tagTrashed, strconv.FormatInt(r.At, 10)), tag(tagDeadline, strconv.FormatInt(r.Deadline, 10)), tag(tagWipe, string(r.Wipe)),
	}
}

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
	// Growing says that the logical volume may be larger than its file system.
	Growing bool
	// Retirement is set in the states that are Deleted, and only there.
	Retirement Retirement
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
	tagGrowing     = "growing"
	tagTrashed     = "trashed"
	tagDeadline    = "deadline"
	tagWipe        = "wipe"
)

// required tags are in every set; the three of the StatefulSet come all together
// or not at all, and so do the three of a retirement.
var (
	required = []string{tagSchema, tagNamespace, tagClaim, tagClass, tagFSType, tagFSUUID, tagState, tagGeneration, tagAPIServer}
	ofMember = []string{tagStatefulSet, tagOrdinal, tagReplicas}
	ofTrash  = []string{tagTrashed, tagDeadline, tagWipe}
)

// StateTag is the tag that says the state s; a state changes by taking one off
// and putting another on in a single lvchange.
func StateTag(s State) string { return TagPrefix + tagState + "=" + string(s) }

// GenerationTag is the tag that says the generation g.
func GenerationTag(g int) string { return TagPrefix + tagGeneration + "=" + strconv.Itoa(g) }

// GrowingTag is on a volume from before it grows until its file system has grown.
const GrowingTag = TagPrefix + tagGrowing + "=yes"

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
	tags = append(tags,
		tag(tagClass, t.Class),
		tag(tagFSType, t.FSType),
		tag(tagFSUUID, t.FSUUID),
		StateTag(t.State),
		GenerationTag(t.Generation),
		tag(tagAPIServer, t.APIServer),
	)
	if t.Growing {
		tags = append(tags, GrowingTag)
	}
	if t.State.Deleted() {
		tags = append(tags, t.Retirement.Encode()...)
	}
	return tags
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
		Growing:   values[tagGrowing] == "yes",
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
	switch t.State {
	case Creating, Ready, Superseded:
	case Trash, Wiping:
		t.Retirement = Retirement{At: int64(number(tagTrashed)), Deadline: int64(number(tagDeadline)), Wipe: Wipe(values[tagWipe])}
		if !slices.Contains(Wipes, t.Retirement.Wipe) {
			problems = append(problems, fmt.Errorf("tag %s: %q is not a wipe policy that this program knows", tagWipe, t.Retirement.Wipe))
		}
	default:
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
	want := slices.Clone(required)
	if slices.ContainsFunc(ofMember, func(key string) bool { return values[key] != "" }) {
		want = append(want, ofMember...)
	}
	if values[tagGrowing] == "yes" {
		want = append(want, tagGrowing)
	}
	if State(values[tagState]).Deleted() {
		want = append(want, ofTrash...)
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
