// Package lint holds the rules of the code's shape that a compiler does not.
package lint

import (
	"bytes"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// Pure packages decide: they know no client, no framework and no command, so
// that every decision can be replayed from data.
var pure = []string{"pkg/volume", "pkg/placement", "pkg/datadir", "pkg/innodb", "pkg/aria", "pkg/gcache", "pkg/rebuild"}

// reserved names packages that only some directories may import.
var reserved = map[string][]string{
	"k8s.io/kubernetes/":             {"cmd/scheduler-plugin", "pkg/plugin", "test/bench"}, // in pkg/plugin for its tests
	"github.com/go-sql-driver/mysql": {"pkg/wsrep", "test"},                                // the drill is a client of its own
	"os/exec":                        {"pkg/lvm", "pkg/member", "pkg/offline", "test"},     // pkg/member and pkg/offline run the database's own programs
}

func TestImports(t *testing.T) {
	for path, imports := range sources(t) {
		dir := filepath.Dir(path)
		test := strings.HasSuffix(path, "_test.go")
		for _, name := range imports {
			if isPure(dir) && !test && (strings.HasPrefix(name, "k8s.io/") || strings.HasPrefix(name, "sigs.k8s.io/") || name == "os/exec") {
				t.Errorf("%s imports %s: %s is pure", path, name, dir)
			}
			for what, where := range reserved {
				within := slices.ContainsFunc(where, func(w string) bool { return strings.HasPrefix(dir+"/", w+"/") })
				if strings.HasPrefix(name, what) && !within && !test {
					t.Errorf("%s imports %s: only %s may", path, name, strings.Join(where, ", "))
				}
			}
		}
	}
}

// isPure says that a directory is one of the pure packages or lies below one.
func isPure(dir string) bool {
	return slices.ContainsFunc(pure, func(p string) bool { return strings.HasPrefix(dir+"/", p+"/") })
}

func TestSizes(t *testing.T) {
	for path := range sources(t) {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		limit := 500
		if strings.HasPrefix(path, "cmd/") && filepath.Base(path) == "main.go" {
			limit = 60
		}
		if lines := bytes.Count(content, []byte{'\n'}); lines > limit {
			t.Errorf("%s has %d lines, more than %d: it does more than one job", path, lines, limit)
		}
	}
}

// TestEveryPackageSaysItsJob wants a doc.go with a package comment.
func TestEveryPackageSaysItsJob(t *testing.T) {
	documented, packages := map[string]bool{}, map[string]bool{}
	for path := range sources(t) {
		if dir := filepath.Dir(path); strings.HasPrefix(dir, "pkg/") {
			packages[dir] = true
			documented[dir] = documented[dir] || filepath.Base(path) == "doc.go"
		}
	}
	for dir := range packages {
		if !documented[dir] {
			t.Errorf("%s has no doc.go", dir)
		}
	}
}

// sources lists the Go files of the module by their path below the root, with
// what they import.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	for _, top := range []string{"cmd", "pkg", "test"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			files[rel] = []string{}
			for _, spec := range parsed.Imports {
				name, _ := strconv.Unquote(spec.Path.Value)
				files[rel] = append(files[rel], name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 50 {
		t.Fatalf("found %d source files only", len(files))
	}
	return files
}
