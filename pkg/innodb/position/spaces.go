package position

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-dev/berth/pkg/innodb/page"
	"github.com/berth-dev/berth/pkg/innodb/redo"
)

// space is a tablespace that can hold rollback segments.
type space struct {
	page.Format
	files []*os.File // one behind the other
}

// encrypted says whether a sound page of the tablespace is: it then names the
// version of its key.
func (s *space) encrypted(p []byte) bool {
	if s.Full {
		return binary.BigEndian.Uint32(p) != 0
	}
	return s.Encrypted && binary.BigEndian.Uint32(p[26:]) != 0
}

// spaces are the system tablespace, id 0, and the undo tablespaces.
type spaces struct {
	byID map[uint32]*space
	// copies are the pages of the doublewrite buffer, in the system tablespace.
	copies  []uint32
	buffers *page.Buffers
}

// missing makes a file that does not exist a fact about the content.
func missing(err error, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return unknown("there is no %s", name)
	}
	return err
}

func openSpaces(dirs Dirs, buffers *page.Buffers) (*spaces, error) {
	s := &spaces{byID: map[uint32]*space{}, buffers: buffers}
	if err := errors.Join(s.openSystem(dirs.Data), s.openUndo(dirs.Undo)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openSystem opens ibdata1, ibdata2 and so on.
func (s *spaces) openSystem(dir string) error {
	for i := 1; ; i++ {
		name := fmt.Sprintf("ibdata%d", i)
		file, err := os.Open(filepath.Join(dir, name))
		if i > 1 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return missing(err, name)
		}
		if i > 1 {
			s.byID[0].files = append(s.byID[0].files, file)
			continue
		}
		if err := s.add(file, true); err != nil {
			return err
		}
	}
}

func (s *spaces) openUndo(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "undo[0-9][0-9][0-9]"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return missing(err, filepath.Base(path))
		}
		if err := s.add(file, false); err != nil {
			return err
		}
	}
	return nil
}

// add takes the first file of a tablespace. An undo tablespace whose first page
// was never written is left out: either the log makes it and nothing in it is
// needed, or its id will be missed.
func (s *spaces) add(file *os.File, system bool) error {
	name := filepath.Base(file.Name())
	first := s.buffers.Next(page.MaxSize)
	defer s.buffers.GiveBack(first)
	n, err := io.ReadFull(file, first)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.Join(fmt.Errorf("read %s: %w", name, err), file.Close())
	}
	if !system && page.IsZero(first[:n]) {
		return file.Close()
	}
	header, err := page.ParseSpace(first[:n])
	switch {
	case err != nil:
		err = unknown("%s has no tablespace header: %v", name, err)
	case system && header.ID != 0:
		err = unknown("%s says that it is tablespace %d", name, header.ID)
	case s.byID[header.ID] != nil:
		err = unknown("%s says that it is tablespace %d, as another file does", name, header.ID)
	case header.MySQL || header.Zip || header.Compressed:
		err = unknown("%s is in a format that MariaDB does not use for it", name)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	s.byID[header.ID] = &space{Format: header.Format, files: []*os.File{file}}
	return nil
}

// read reads a page as the data files hold it. Of a page behind the end of the
// file there are zeros only, for the log makes it. The bytes are for buffers to
// have back.
func (s *spaces) read(p redo.Page) ([]byte, page.Result, error) {
	space := s.byID[p.Space]
	if space == nil {
		return nil, 0, unknown("there is no file of undo tablespace %d", p.Space)
	}
	b := s.buffers.Next(space.Size)
	at := int64(p.Number) * int64(space.Size)
	for _, file := range space.files {
		info, err := file.Stat()
		if err != nil {
			return nil, 0, err
		}
		if at >= info.Size() {
			at -= info.Size()
			continue
		}
		if _, err := file.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("read page %d of tablespace %d: %w", p.Number, p.Space, err)
		}
		break
	}
	return b, space.Check(b, p.Number, p.Space), nil
}

// sound reads a page, from the doublewrite buffer when it was torn in its place.
// The page is nil when there is no good copy, or only zeros: it is of use only
// if the log makes it anew.
func (s *spaces) sound(p redo.Page) ([]byte, error) {
	b, result, err := s.read(p)
	if err != nil {
		return nil, err
	}
	if result == page.Blank {
		s.buffers.GiveBack(b)
		return nil, nil
	}
	if !result.IsBad() {
		if s.byID[p.Space].encrypted(b) {
			return nil, unknown("tablespace %d is encrypted", p.Space)
		}
		return b, nil
	}
	s.buffers.GiveBack(b)
	var newest []byte
	for _, number := range s.copies {
		c, _, err := s.read(redo.Page{Number: number})
		if err != nil {
			return nil, err
		}
		format := &s.byID[p.Space].Format
		if format.Check(c, p.Number, p.Space) == page.Good && page.SpaceID(c) == p.Space && (newest == nil || page.LSN(c) > page.LSN(newest)) {
			newest, c = c, newest
		}
		s.buffers.GiveBack(c)
	}
	return newest, nil
}

// Layout of the doublewrite buffer's entry in the TRX_SYS page (trx0sys.h).
const (
	doublewriteBefore = 200 // bytes before the page's end
	doublewriteMagic  = 536853855
)

// findCopies notes where the doublewrite buffer is. Its first pages were
// allocated in two extents.
func (s *spaces) findCopies(sys []byte) {
	entry := sys[len(sys)-doublewriteBefore:]
	if binary.BigEndian.Uint32(entry[10:]) != doublewriteMagic {
		return
	}
	for _, first := range []uint32{binary.BigEndian.Uint32(entry[14:]), binary.BigEndian.Uint32(entry[18:])} {
		for i := range uint32(s.byID[0].Extent()) {
			s.copies = append(s.copies, first+i)
		}
	}
}

func (s *spaces) close() error {
	var err error
	for _, space := range s.byID {
		for _, file := range space.files {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}
