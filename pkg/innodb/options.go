package innodb

import "runtime"

// Level is how much of a directory is read.
type Level string

// Levels, from the fastest to the most thorough.
const (
	// Quick reads headers, redo, dictionary and control files: milliseconds, and
	// about a second for 400 MB of redo.
	Quick Level = "quick"
	// Sample is Quick and all system pages and some of the others.
	Sample Level = "sample"
	// Checksum is Quick and every page.
	Checksum Level = "checksum"
	// Deep is Checksum, and then a server's CHECK TABLE on a copy. Verify does the
	// first part; the second needs a server (package checktable).
	Deep Level = "deep"
)

// Options say how to look at a directory. The zero value checks every page as
// fast as the machine can.
type Options struct {
	// Level is Checksum when it is empty.
	Level Level
	// Rate limits reading, in bytes a second; 0 is no limit.
	Rate int64
	// Workers is the number of readers; 0 is one a core.
	Workers int
	// Progress is told from time to time how many bytes are done, and how many
	// there are. Calls do not overlap. It may be nil.
	Progress func(done, total int64)
	// UndoDir is innodb_undo_directory, when it is not the data directory.
	UndoDir string
	// LogDir is innodb_log_group_home_dir, when it is not the data directory.
	LogDir string
	// SystemFiles are the names of innodb_data_file_path in their order; nil finds
	// ibdata1, ibdata2 and so on.
	SystemFiles []string
	// Recovered says that the caller knows that the server has recovered or stopped
	// in order. Without it the redo log tells, if it can be read.
	Recovered bool
	// Seed chooses the pages of level Sample.
	Seed uint64
}

func (o Options) level() Level {
	if o.Level == "" {
		return Checksum
	}
	return o.Level
}

func (o Options) workers() int {
	if o.Workers <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return o.Workers
}
