package attack

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/test/corpus"
)

// usedPage is a page of a tablespace that is allocated and holds something.
type usedPage struct {
	path  string
	at    int64 // offset in the file
	space *page.Space
}

// usedPages lists the pages of a clean directory whose content counts.
func usedPages(d corpus.Directory) ([]usedPage, error) {
	var found []usedPage
	err := filepath.WalkDir(d.Root, func(path string, entry fs.DirEntry, err error) error {
		name := filepath.Base(path)
		isTable := strings.HasSuffix(name, ".ibd") || strings.HasPrefix(name, "undo0")
		if err != nil || entry.IsDir() || !isTable {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		space, err := page.ParseSpace(content[:min(len(content), page.MaxSize)])
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		found = append(found, usedIn(path, content, &space, 0, content)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	system, err := usedInSystem(d)
	return append(found, system...), err
}

// usedInSystem lists those of the system tablespace, without the doublewrite
// buffer: in a clean directory its copies are of the past.
func usedInSystem(d corpus.Directory) ([]usedPage, error) {
	var whole []byte
	var starts []int
	for _, name := range d.SystemFiles() {
		content, err := os.ReadFile(filepath.Join(d.Data(), name))
		if err != nil {
			return nil, err
		}
		starts = append(starts, len(whole))
		whole = append(whole, content...)
	}
	space, err := page.ParseSpace(whole[:page.MaxSize])
	if err != nil {
		return nil, err
	}
	sys := whole[6*space.Size-200 : 6*space.Size]
	var found []usedPage
	for i, name := range d.SystemFiles() {
		end := len(whole)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		for _, p := range usedIn(filepath.Join(d.Data(), name), whole[starts[i]:end], &space, starts[i]/space.Size, whole) {
			no := uint32(p.at/int64(space.Size)) + uint32(starts[i]/space.Size)
			if inBlock(sys[14:], no, space.Extent()) || inBlock(sys[18:], no, space.Extent()) {
				continue
			}
			found = append(found, p)
		}
	}
	return found, nil
}

func inBlock(field []byte, no uint32, extent int) bool {
	first := binary.BigEndian.Uint32(field)
	return no >= first && no < first+uint32(extent)
}

// usedIn lists the pages of one file whose first page is number base of the
// tablespace whole.
func usedIn(path string, content []byte, space *page.Space, base int, whole []byte) []usedPage {
	var found []usedPage
	for at := 0; at+space.Size <= len(content); at += space.Size {
		no := uint32(base + at/space.Size)
		if no >= space.FreeLimit || page.IsZero(content[at:at+space.Size]) {
			continue
		}
		descriptors := int(space.DescriptorPage(no)) * space.Size
		if !space.IsFree(whole[descriptors:descriptors+space.Size], no) {
			found = append(found, usedPage{path, int64(at), space})
		}
	}
	return found
}
