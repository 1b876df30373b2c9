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

func TestFits(t *testing.T) {
	many := append([]string{"fullreport"}, strings.Split(strings.Repeat("-o x ", 30), " ")[:60]...)
	for name, c := range map[string]struct {
		args []string
		want bool
	}{
		"report":                 {reportArgs, true},
		"a change":               {[]string{"lvcreate", "-n", "a", "vg"}, false},
		"an activation":          {[]string{"lvchange", "-a", "y", "vg/a"}, false},
		"writes to stdout":       {[]string{"lvmconfig"}, false},
		"nothing":                {nil, false},
		"two words":              {[]string{"fullreport", "-o", "x y"}, false},
		"a comment":              {[]string{"fullreport", "-o", "#x"}, false},
		"quotes":                 {[]string{"fullreport", "-o", `"x"`}, false},
		"two lines":              {[]string{"fullreport", "-o", "x\nlvremove"}, false},
		"an empty argument":      {[]string{"fullreport", "-o", ""}, false},
		"as many as lvm takes":   {many[:60], true},
		"more than lvm takes":    {many, false},
		"longer than it is sure": {[]string{"fullreport", "-o", strings.Repeat("x", mostBytes)}, false},
	} {
		if got := fits(c.args); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
