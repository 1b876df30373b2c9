package volume

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sample() Tags {
	return Tags{
		Namespace: "db", Claim: "data-galera-1", Member: Member{StatefulSet: "galera", Ordinal: 1, Replicas: 3},
		Class: "berth", FSType: "ext4", FSUUID: "11111111-2222-3333-4444-555555555555",
		State: Creating, Generation: 1, APIServer: "99999999-2222-3333-4444-555555555555",
	}
}

func TestTagsRoundTrip(t *testing.T) {
	alone := sample()
	alone.Member = Member{}
	kept := sample()
	kept.State, kept.Retirement = Trash, Retirement{At: 1_800_000_000, Deadline: 1_800_600_000, Wipe: WipeZero}
	marked := kept
	marked.State = Wiping
	for name, want := range map[string]Tags{"member": sample(), "no StatefulSet": alone, "trash": kept, "wiping": marked} {
		got, err := DecodeTags(append(want.Encode(), "foreign", "other.dev/state=x"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestDecodeTagsRefuses(t *testing.T) {
	replace := func(old, new string) []string {
		return strings.Split(strings.ReplaceAll(strings.Join(sample().Encode(), ","), old, new), ",")
	}
	for name, c := range map[string]struct {
		raw  []string
		want string
	}{
		"another schema":         {replace("schema=1", "schema=2"), `schema "2"`},
		"no schema":              {sample().Encode()[1:], `schema ""`},
		"a key missing":          {sample().Encode()[:11], "api-server is missing"},
		"half a member":          {replace(TagPrefix+"replicas=3", "x"), "replicas is missing"},
		"unknown key":            {append(sample().Encode(), TagPrefix+"colour=red"), "colour is not part of schema 1"},
		"twice":                  {append(sample().Encode(), StateTag(Ready)), "state is there twice"},
		"wiping, no deadline":    {replace("state=creating", "state=wiping"), "tag deadline is missing"},
		"wiping and had back":    {append(replace("state=creating", "state=wiping"), StateTag(Ready)), "state is there twice"},
		"unknown state":          {replace("state=creating", "state=sunk"), `"sunk" is not a state`},
		"number with other text": {replace("ordinal=1", "ordinal=01"), `"01" is not a decimal`},
		"no value":               {append(sample().Encode(), TagPrefix+"x"), "not of the form"},
	} {
		_, err := DecodeTags(c.raw)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
		if errors.Is(err, ErrNotBerth) {
			t.Errorf("%s: broken tags of Berth were taken for foreign ones", name)
		}
	}
	if _, err := DecodeTags([]string{"owner=somebody"}); !errors.Is(err, ErrNotBerth) {
		t.Errorf("foreign tags: got %v, want ErrNotBerth", err)
	}
}

// FuzzDecodeTags holds that whatever decodes encodes back to the same tags, so
// that nothing is read that would not be written.
func FuzzDecodeTags(f *testing.F) {
	f.Add(strings.Join(sample().Encode(), ","))
	marked := sample()
	marked.State, marked.Retirement = Wiping, Retirement{At: 1, Deadline: 2, Wipe: WipeZero}
	f.Add(strings.Join(marked.Encode(), ","))
	f.Add("berth.dev/schema=1")
	f.Add("berth.dev/state=ready,berth.dev/state=creating")
	legal := regexp.MustCompile(`^[A-Za-z0-9_+.\-/=!:#&]+$`)
	f.Fuzz(func(t *testing.T, joined string) {
		tags, err := DecodeTags(strings.Split(joined, ","))
		if err != nil {
			return
		}
		again, err := DecodeTags(tags.Encode())
		if err != nil {
			t.Fatalf("%q: decoded, then refused its own encoding: %v", joined, err)
		}
		if diff := cmp.Diff(tags, again); diff != "" {
			t.Fatalf("%q: (-first +second)\n%s", joined, diff)
		}
		for _, tag := range tags.Encode() {
			if !legal.MatchString(tag) {
				t.Fatalf("%q: tag %q has characters that LVM refuses", joined, tag)
			}
		}
	})
}

func TestAnnotationsRoundTrip(t *testing.T) {
	want := Volume{VGUUID: "Hw1BpY-x", VGName: "berth", VGSeqno: 7, LVUUID: "UyYZ1y-x", LVName: "berth-00", Tags: sample()}
	got, err := FromAnnotations(want.Annotations())
	if err != nil {
		t.Fatal(err)
	}
	want.Tags.Namespace, want.Tags.Claim, want.Tags.Class, want.Tags.FSType, want.Tags.State = "", "", "", "", ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	broken := want.Annotations()
	delete(broken, AnnotationLVUUID)
	broken[AnnotationOrdinal] = "one"
	_, err = FromAnnotations(broken)
	for _, key := range []string{AnnotationLVUUID, AnnotationOrdinal} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("got %v, want the problem with %s in it", err, key)
		}
	}
}

func TestOrdinal(t *testing.T) {
	for _, c := range []struct {
		claim, template, set string
		want                 int
		ok                   bool
	}{
		{"data-galera-0", "data", "galera", 0, true},
		{"data-galera-12", "data", "galera", 12, true},
		{"data-my-galera-2-3", "data", "my-galera-2", 3, true},
		{"data-galera-012", "data", "galera", 0, false},
		{"data-galera-", "data", "galera", 0, false},
		{"data-galera-+1", "data", "galera", 0, false},
		{"data-galera-1-backup", "data", "galera", 0, false},
		{"other-galera-1", "data", "galera", 0, false},
	} {
		got, ok := Ordinal(c.claim, c.template, c.set)
		if got != c.want || ok != c.ok {
			t.Errorf("Ordinal(%q, %q, %q) = %d, %t; want %d, %t", c.claim, c.template, c.set, got, ok, c.want, c.ok)
		}
	}
}

func TestNames(t *testing.T) {
	if a, b := LVName("a-b", "c"), LVName("a", "b-c"); a == b {
		t.Errorf("two claims share the name %s", a)
	}
	if got, want := LVName("db", "data-galera-0"), LVName("db", "data-galera-0"); got != want || len(got) != len("berth-")+32 {
		t.Errorf("LVName = %q, %q", got, want)
	}
	if got, want := PVName("UyYZ1y-7qWp"), "lv-uyyz1y-7qwp"; got != want {
		t.Errorf("PVName = %q, want %q", got, want)
	}
	if got, want := NodeLabel("UyYZ1y-7qWp"), "vg.berth.dev/UyYZ1y7qWp"; got != want {
		t.Errorf("NodeLabel = %q, want %q", got, want)
	}
}
