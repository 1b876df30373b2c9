package redo

import "bytes"

// Pages is a set of pages. It is small when they lie together, and bounded: a
// set that is full forgets further pages and says so.
type Pages struct {
	bits map[Page]uint64 // of 64 pages each, by the number of the first, over 64
	full bool
}

// maxPageGroups bounds a set to about 20 MB: 32 million pages that lie together.
const maxPageGroups = 1 << 19

func (s *Pages) add(p Page) {
	group := Page{p.Space, p.Number / 64}
	if s.bits == nil {
		s.bits = map[Page]uint64{}
	}
	if _, found := s.bits[group]; !found && len(s.bits) >= maxPageGroups {
		s.full = true
		return
	}
	s.bits[group] |= 1 << (p.Number % 64)
}

// Has says whether the page is in the set.
func (s *Pages) Has(p Page) bool {
	return s.bits[Page{p.Space, p.Number / 64}]>>(p.Number%64)&1 != 0
}

// Complete says whether the set holds all that was added. Of a page that is not
// in an incomplete set nothing is known.
func (s *Pages) Complete() bool { return !s.full }

// FileChange is what the log says about a tablespace's file.
type FileChange struct {
	Kind  Kind // FileCreate, FileDelete, FileRename or FileModify
	Space uint32
	// Name is the path as the server gave it, "./db/table.ibd".
	Name string
	// To is the new name after a FileRename.
	To string
}

// maxNames bounds what a log can make a reader remember of names, in bytes.
const maxNames = 8 << 20

// Changes is what the log will do to the data directory, as far as it matters
// for judging pages and files before recovery.
type Changes struct {
	// Made are pages that the log initialises or frees: recovery does not read
	// them from the data files, so that what these hold for them does not matter.
	Made Pages
	// Files are the changes of tablespace files in their order.
	Files []FileChange
	// FilesCut says that there were more of them than could be remembered.
	FilesCut bool

	names int // bytes of names in Files
}

// Interest adds what Take needs to what else is wanted.
func (c *Changes) Interest(want Interest) Interest {
	want.Files, want.Made = true, &c.Made
	return want
}

// Take notes what a mini-transaction does to files.
func (c *Changes) Take(m Mtr) {
	if m.records[0]&samePage == 0 {
		return
	}
	m.Records(func(r Record) {
		switch r.Kind {
		case FileCreate, FileDelete, FileRename, FileModify:
			c.addFile(r)
		}
	})
}

func (c *Changes) addFile(r Record) {
	const overhead = 64 // of a change without its names
	if c.names += len(r.Data) + overhead; c.names > maxNames {
		c.FilesCut = true
		return
	}
	name, to, _ := bytes.Cut(r.Data, []byte{0})
	c.Files = append(c.Files, FileChange{Kind: r.Kind, Space: r.Page.Space, Name: string(name), To: string(to)})
}
