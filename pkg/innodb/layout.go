package innodb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-dev/berth/pkg/innodb/page"
)

// kind is what a tablespace file is for.
type kind uint8

const (
	kindTable kind = iota
	kindSystem
	kindUndo
	kindLeftover // of an interrupted ALTER; recovery or the next start removes it
)

// datafile is one file of a tablespace.
type datafile struct {
	name string // as in findings
	path string
	kind kind
	// table is the name by which the dictionary knows the file's table, "db/table".
	table string
	size  int64
	// base is the number of the file's first page; not 0 in the later files of the
	// system tablespace.
	base  uint32
	space page.Space
	// usable says that space was read and the pages can be checked.
	usable bool
}

func (f *datafile) pages() uint32 { return uint32(f.size / int64(f.space.Size)) }

// layout is what lies in a data directory.
type layout struct {
	dir    string
	files  []*datafile
	frms   []string // .frm files by path below dir
	links  []string // .isl files, which name the place of a tablespace outside
	mysql8 bool     // a dictionary in mysql.ibd
	// system are the usable files of the system tablespace in their order.
	system []*datafile
	// doublewrite are the pages of the system tablespace that hold copies of others.
	doublewrite []span
	findings    []Finding
}

func (l *layout) find(f Finding) { l.findings = append(l.findings, f) }

// look lists the directory. What cannot be read becomes a finding.
func look(dir string, opt Options) (*layout, error) {
	l := &layout{dir: dir}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(dir, path)
		if relErr != nil {
			return relErr
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && name != ".": // a server at work removes files
			return nil
		case err != nil && name == ".":
			return err
		case err != nil:
			l.find(unreadable(name, err))
			return nil
		case entry.IsDir():
			return l.enter(name)
		}
		l.add(name, path, opt)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", dir, err)
	}
	l.addOutside(opt)
	slices.SortFunc(l.files, func(a, b *datafile) int { return strings.Compare(a.name, b.name) })
	return l, nil
}

// enter skips directories that hold no tables: schemas are one level deep.
func (l *layout) enter(name string) error {
	if name != "." && (strings.Contains(name, string(filepath.Separator)) || strings.HasPrefix(name, "#innodb")) {
		return fs.SkipDir
	}
	return nil
}

func (l *layout) add(name, path string, opt Options) {
	base, top := filepath.Base(name), filepath.Dir(name) == "."
	k := kindTable
	switch {
	case top && isSystem(base, opt.SystemFiles):
		k = kindSystem
	case top && isUndo(base):
		k = kindUndo
	case strings.HasSuffix(base, ".isl") && !top:
		l.links = append(l.links, name)
		return
	case strings.HasSuffix(base, ".frm"):
		l.frms = append(l.frms, name)
		return
	case !strings.HasSuffix(base, ".ibd"):
		return
	case name == "mysql.ibd":
		l.mysql8 = true
	case strings.HasPrefix(base, "#sql"):
		k = kindLeftover
	}
	l.addFile(&datafile{name: name, path: path, kind: k, table: strings.TrimSuffix(name, ".ibd")})
}

func (l *layout) addFile(f *datafile) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		l.find(unreadable(f.name, err))
		return
	case !info.Mode().IsRegular():
		return
	}
	f.size = info.Size()
	l.files = append(l.files, f)
}

// addOutside follows .isl files and innodb_undo_directory.
func (l *layout) addOutside(opt Options) {
	for _, link := range l.links {
		content, err := os.ReadFile(filepath.Join(l.dir, link))
		if err != nil {
			l.find(unreadable(link, err))
			continue
		}
		target := strings.TrimRight(string(content), "\r\n\x00 ")
		if _, err := os.Stat(target); target == "" || errors.Is(err, fs.ErrNotExist) {
			l.find(Finding{Verdict: Fatal, Code: LinkBroken, File: link, Page: -1,
				Expected: "the path of a tablespace", Found: fmt.Sprintf("%q, where no file is", target),
				Do: "mount what holds the tablespace; else " + rebuild})
			continue
		}
		l.addFile(&datafile{name: target, path: target, kind: kindTable, table: strings.TrimSuffix(link, ".isl")})
	}
	if opt.UndoDir == "" || filepath.Clean(opt.UndoDir) == filepath.Clean(l.dir) {
		return
	}
	entries, err := os.ReadDir(opt.UndoDir)
	if err != nil {
		l.find(unreadable(opt.UndoDir, err))
		return
	}
	for _, e := range entries {
		if isUndo(e.Name()) {
			path := filepath.Join(opt.UndoDir, e.Name())
			l.addFile(&datafile{name: path, path: path, kind: kindUndo})
		}
	}
}

func isSystem(base string, names []string) bool {
	if names != nil {
		return slices.Contains(names, base)
	}
	number, found := strings.CutPrefix(base, "ibdata")
	_, err := strconv.Atoi(number)
	return found && err == nil
}

// isUndo accepts undo001 of MariaDB and undo_001 of MySQL.
func isUndo(base string) bool {
	number, found := strings.CutPrefix(base, "undo")
	number = strings.TrimPrefix(number, "_")
	_, err := strconv.Atoi(number)
	return found && err == nil && len(number) == 3
}

// readStart reads the beginning of a file, as much as the buffer takes.
func readStart(path string, buf []byte) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := io.ReadFull(f, buf)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return buf[:n], err
}

// openRegular opens a file for reading. os.Open asks the kernel six times whether it
// can be polled, which no file of a data directory can, and there are hundreds.
func openRegular(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), path), nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// unreadable is an error of the system while reading.
func unreadable(name string, err error) Finding {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return Finding{Verdict: Environment, Code: Unreadable, File: name, Page: -1,
		Expected: "a readable file", Found: err.Error(),
		Do: "mend the cause (permission, device) and check again; this says nothing about the data"}
}

// hasLink says whether an .isl file names the place of the table.
func (l *layout) hasLink(table string) bool {
	return slices.Contains(l.links, table+".isl")
}
