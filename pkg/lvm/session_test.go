package lvm

import (
	"errors"
	"strings"
	"testing"
)

const (
	// As lvm 2.03.16 writes them, without the columns that nobody reads.
	status  = `{"log_type":"status", "log_context":"shell", "log_object_name":"lvcreate", "log_message":"success", "log_ret_code":"1"}`
	warning = `{"log_type":"warn", "log_context":"shell", "log_object_name":"lvcreate", "log_message":"WARNING: w", "log_ret_code":"0"}`
	reason  = `{"log_type":"error", "log_context":"processing", "log_object_name":"vgt", "log_message":"Volume group \"x\" not found", "log_ret_code":"0"}`
	inner   = `{"log_type":"status", "log_context":"processing", "log_object_name":"vgt", "log_message":"failure", "log_ret_code":"5"}`
)

func TestAnswer(t *testing.T) {
	failure := strings.Replace(status, `"1"`, `"5"`, 1)
	for name, c := range map[string]struct {
		log  []string
		code int // -1: no answer
		text string
	}{
		"success":               {[]string{warning, status}, 0, "WARNING: w"},
		"failure":               {[]string{reason, inner, failure}, 5, `Volume group "x" not found`},
		"nothing":               {nil, -1, ""},
		"no status":             {[]string{warning, inner}, -1, ""},
		"two commands":          {[]string{status, failure}, -1, ""},
		"another command":       {[]string{strings.Replace(status, "lvcreate", "lvremove", 1)}, -1, ""},
		"a code that is no one": {[]string{strings.Replace(status, `"1"`, `"x"`, 1)}, -1, ""},
	} {
		a, err := answerOf("lvcreate", []byte(`{"log":[`+strings.Join(c.log, ",")+`]}`))
		switch {
		case c.code < 0:
			if !errors.Is(err, errOutOfStep) {
				t.Errorf("%s: %+v, %v, want no answer", name, a, err)
			}
		case err != nil || a.code != c.code || a.text != c.text:
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
	if a, err := answerOf("lvcreate", []byte(`[]`)); err == nil {
		t.Errorf("no document: %+v", a)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"log":[` + warning + "," + status + `]}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if a, err := answerOf("lvcreate", doc); err == nil && a.code == 0 && !strings.Contains(string(doc), "1") {
			t.Fatalf("success without its code: %q", doc)
		}
	})
}

func TestKindOf(t *testing.T) {
	const reports, creates, tags, none = 0, 1, 2, -1
	many := append([]string{"fullreport"}, strings.Split(strings.Repeat("-o x ", 30), " ")[:60]...)
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"report":                 {reportArgs, reports},
		"a linear volume":        {[]string{"lvcreate", "-y", "--setautoactivation", "n", "-W", "y", "-Z", "y", "-l", "3", "-n", "a", "--addtag", "AZaz09_+.-/=!:&", "vg"}, creates},
		"another layout":         {[]string{"lvcreate", "-y", "--type", "raid1", "-l", "3", "-n", "a", "vg"}, none},
		"an unusual option":      {[]string{"lvcreate", "-y", "--config", "x=1", "-l", "3", "-n", "a", "vg"}, none},
		"tags":                   {[]string{"lvchange", "--deltag", "s=1", "--addtag", "s=2", "vg/a"}, tags},
		"an activation":          {[]string{"lvchange", "-y", "-a", "y", "vg/a"}, none},
		"tags and an activation": {[]string{"lvchange", "--addtag", "s=2", "-ay", "vg/a"}, none},
		"tags of a group":        {[]string{"vgchange", "--addtag", "s=2", "vg"}, none},
		"a removal":              {[]string{"lvremove", "-y", "vg/a"}, none},
		"writes to stdout":       {[]string{"lvmconfig"}, none},
		"nothing":                {nil, none},
		"two words":              {[]string{"lvchange", "--addtag", "x y", "vg/a"}, none},
		"a comment":              {[]string{"lvchange", "--addtag", "#x", "vg/a"}, none},
		"quotes":                 {[]string{"lvchange", "--addtag", `"x"`, "vg/a"}, none},
		"two lines":              {[]string{"lvchange", "--addtag", "x\nlvremove", "vg/a"}, none},
		"an empty argument":      {[]string{"lvchange", "--addtag", "", "vg/a"}, none},
		"as many as lvm takes":   {many[:60], reports},
		"more than lvm takes":    {many, none},
		"longer than it is sure": {[]string{"lvchange", "--addtag", strings.Repeat("x", mostBytes), "vg/a"}, none},
	} {
		if got := kindOf(c.args); got != c.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
