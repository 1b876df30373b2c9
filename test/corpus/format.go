package corpus

import (
	"fmt"
	"slices"
	"strings"
)

// Format is one way in which a server can be told to lay out its data.
type Format struct {
	Name string
	// PageSize is innodb_page_size in bytes.
	PageSize int
	// Checksum is innodb_checksum_algorithm.
	Checksum string
	// System is innodb_data_file_path; one growing ibdata1 when it is empty.
	System string
	// Undo is the number of undo tablespaces.
	Undo int
	// Outside puts undo tablespaces and tables into directories of their own,
	// beside the data directory.
	Outside bool
	// EncryptedRedo makes the redo log unreadable without the keys.
	EncryptedRedo bool
	// Options are further options of the server.
	Options []string
	// Tables are the kinds of tables that the load writes.
	Tables []Table
}

// Table is a kind of table.
type Table struct {
	Name string
	// Options follow the table's columns in CREATE TABLE. %s stands for the
	// directory beside the data directory.
	Options string
	// Before are statements that have to come before, in the same session.
	Before []string
}

// plain are the kinds that need nothing special of the server.
var plain = []Table{
	{Name: "t1"},
	{Name: "t2", Options: "ROW_FORMAT=COMPACT"},
	{Name: "t3", Options: "ROW_FORMAT=REDUNDANT"},
}

// compressors are those of page_compressed that Debian's server has, by the
// names of innodb_compression_algorithm.
var compressors = []string{"zlib", "lz4", "lzo", "lzma", "bzip2", "snappy"}

// Formats lists all formats. Every one of them can be clean or killed.
func Formats() []Format {
	var formats []Format
	for _, size := range []int{4, 8, 16, 32, 64} {
		for _, sum := range []string{"full_crc32", "crc32"} {
			formats = append(formats, Format{Name: fmt.Sprintf("%s-%dk", sum, size), PageSize: size << 10, Checksum: sum, Tables: plain})
		}
	}
	formats = append(formats,
		Format{Name: "strict_full_crc32-16k", PageSize: 16 << 10, Checksum: "strict_full_crc32", Tables: plain},
		Format{Name: "strict_crc32-16k", PageSize: 16 << 10, Checksum: "strict_crc32", Tables: plain},
		zip("full_crc32", 4, 1, 2, 4), zip("full_crc32", 8, 1, 2, 4, 8), zip("full_crc32", 16, 1, 2, 4, 8, 16), zip("crc32", 16, 2, 8),
		pageCompressed("full_crc32", 16), pageCompressed("full_crc32", 64), pageCompressed("crc32", 16), pageCompressed("crc32", 32),
		encrypted("full_crc32", 16), encrypted("crc32", 16), encrypted("full_crc32", 4),
	)
	redo := encrypted("full_crc32", 16)
	redo.Name, redo.EncryptedRedo = "encrypted-redo-16k", true
	redo.Options = append(slices.Clone(redo.Options), "innodb_encrypt_log=ON")
	return append(formats, redo,
		Format{Name: "system-files-16k", PageSize: 16 << 10, Checksum: "full_crc32", Tables: plain,
			System: "ibdata1:6M;ibdata2:4M;ibdata3:4M:autoextend", Options: []string{"innodb_file_per_table=OFF"}},
		Format{Name: "undo-16k", PageSize: 16 << 10, Checksum: "full_crc32", Tables: plain, Undo: 4,
			Options: []string{"innodb_undo_log_truncate=ON", "innodb_max_undo_log_size=10M", "innodb_purge_rseg_truncate_frequency=1"}},
		Format{Name: "outside-16k", PageSize: 16 << 10, Checksum: "full_crc32", Undo: 3, Outside: true, Tables: []Table{
			{Name: "t1"}, {Name: "t2", Options: "DATA DIRECTORY='%s'"}, {Name: "t3", Options: "ROW_FORMAT=REDUNDANT DATA DIRECTORY='%s'"}}},
	)
}

// Named gives the formats of the given names.
func Named(names ...string) ([]Format, error) {
	var found []Format
	for _, name := range names {
		at := slices.IndexFunc(Formats(), func(f Format) bool { return f.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("format %q is not known; the formats are %s", name, strings.Join(Names(), ", "))
		}
		found = append(found, Formats()[at])
	}
	return found, nil
}

// Names lists the names of all formats.
func Names() []string {
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return names
}

// zip has ROW_FORMAT=COMPRESSED tables of several block sizes, in KiB.
func zip(sum string, size int, blocks ...int) Format {
	f := Format{Name: fmt.Sprintf("zip-%s-%dk", sum, size), PageSize: size << 10, Checksum: sum}
	for _, block := range blocks {
		f.Tables = append(f.Tables, Table{Name: fmt.Sprintf("zip%d", block), Options: fmt.Sprintf("ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=%d", block)})
	}
	return f
}

// pageCompressed has one table for each compressor.
func pageCompressed(sum string, size int) Format {
	f := Format{Name: fmt.Sprintf("pagecomp-%s-%dk", sum, size), PageSize: size << 10, Checksum: sum}
	for _, algorithm := range compressors {
		if algorithm != "zlib" {
			f.Options = append(f.Options, "plugin_load_add=provider_"+algorithm)
		}
		f.Tables = append(f.Tables, Table{Name: algorithm, Options: "PAGE_COMPRESSED=1",
			Before: []string{"SET GLOBAL innodb_compression_algorithm=" + algorithm}})
	}
	return f
}

// encrypted has tables with keys of the plugin file_key_management.
func encrypted(sum string, size int) Format {
	tables := []Table{
		{Name: "plain", Options: "ENCRYPTED=YES ENCRYPTION_KEY_ID=1"},
		{Name: "zip", Options: "ENCRYPTED=YES ENCRYPTION_KEY_ID=2 ROW_FORMAT=COMPRESSED"},
		{Name: "pagecomp", Options: "ENCRYPTED=YES PAGE_COMPRESSED=1"},
		{Name: "open", Options: "ENCRYPTED=NO"},
	}
	return Format{Name: fmt.Sprintf("encrypted-%s-%dk", sum, size), PageSize: size << 10, Checksum: sum, Tables: tables,
		Options: []string{"plugin_load_add=file_key_management", "loose_file_key_management_filename=%s/keys"}}
}

// smallestPool is the smallest innodb_buffer_pool_size of the page size, in MiB.
func (f Format) smallestPool() int { return max(6, 1+f.PageSize*20/(64<<10)) }

// base names what mariadb-install-db has to be told: formats of the same base
// start from copies of one directory.
func (f Format) base() string {
	name := fmt.Sprintf("%d-%s-undo%d", f.PageSize, strings.TrimPrefix(f.Checksum, "strict_"), f.Undo)
	// A log that is encrypted when it is made cannot be read without the keys.
	if f.System != "" || f.Outside || f.EncryptedRedo {
		name += "-" + f.Name
	}
	return name
}

// Encrypted says whether some tables are.
func (f Format) Encrypted() bool {
	return slices.ContainsFunc(f.Tables, func(t Table) bool { return strings.Contains(t.Options, "ENCRYPTED=YES") })
}
