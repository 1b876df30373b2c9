package innodb

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-dev/berth/pkg/innodb/dictionary"
	"github.com/berth-dev/berth/pkg/innodb/page"
)

// errBadPage says that a page of the dictionary is among the suspects.
var errBadPage = errors.New("a page of the dictionary is bad")

// checkDictionary compares the server's list of tables with the files. Before
// recovery, both may lag behind the log: tables that the log still changes are
// left out then.
func (v *verification) checkDictionary() {
	if v.layout.mysql8 || v.layout.system == nil {
		return
	}
	var p []byte
	tables, err := dictionary.Read(func(no uint32) ([]byte, error) {
		v.buffers.GiveBack(p)
		if p = v.goodPage(0, no); len(p) >= page.MinSize {
			return p, nil
		}
		return nil, errBadPage
	})
	switch {
	case errors.Is(err, dictionary.ErrDamaged) && v.report.Recovered:
		v.findFile(Fatal, DictionaryPage, v.layout.system[0].name, "a dictionary that can be read", err.Error())
		return
	case err != nil:
		verdict := NotVerified
		if v.logRead && !v.report.Recovered {
			verdict = Fine // the log completes the dictionary; what is bad about a page is said of the page
		}
		v.find(Finding{Verdict: verdict, Code: DictionaryPage, File: v.layout.system[0].name, Page: -1, Expected: "a dictionary that can be read",
			Found: err.Error(), Do: "check again after recovery: tables and files were not compared"})
		return
	}
	v.compareTables(tables)
}

func (v *verification) compareTables(tables []dictionary.Table) {
	files := map[string]*datafile{}
	for _, f := range v.layout.files {
		if f.kind == kindTable {
			files[f.table] = f
		}
	}
	for _, t := range tables {
		if t.Space == 0 || t.Discarded || strings.Contains(t.Name, "#sql") {
			delete(files, t.Name)
			continue
		}
		f := files[t.Name]
		delete(files, t.Name)
		name := t.Name + ".ibd"
		switch {
		case v.excused(name, t.Space):
		case f == nil && v.layout.hasLink(t.Name): // said of the link
		case f == nil:
			v.findFile(Fatal, SpaceMissing, name, fmt.Sprintf("a tablespace with space id %d, as the dictionary says", t.Space), "no such file")
		case f.usable && f.space.ID != t.Space:
			v.findFile(Fatal, SpaceSwapped, f.name, fmt.Sprintf("space id %d, as the dictionary says", t.Space), fmt.Sprintf("space id %d: another table's file", f.space.ID))
		}
	}
	for _, f := range v.layout.files {
		if files[f.table] == f && f.kind == kindTable && !v.excused(f.name, f.space.ID) {
			v.find(Finding{Verdict: Fine, Code: SpaceOrphan, File: f.name, Page: -1, Expected: "a table that the dictionary knows",
				Found: "none: the server ignores this file", Do: "remove it when nobody needs it"})
			v.disown(f)
		}
	}
}

// disown takes the weight off all findings about a file that no table has: a
// server that died while it made or dropped a table leaves such files, with
// zeros in them or without a definition. Before recovery the dictionary may
// still learn of the table.
func (v *verification) disown(f *datafile) {
	if !v.report.Recovered {
		return
	}
	v.orphans[f] = true
	v.report.Verdict = Fine
	for i := range v.report.Findings {
		if found := &v.report.Findings[i]; found.File == f.name && found.Verdict == Fatal {
			found.Verdict, found.Do = Fine, "nothing: no table is in this file"
		}
		v.report.Verdict = Worse(v.report.Verdict, v.report.Findings[i].Verdict)
	}
}
