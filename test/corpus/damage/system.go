package damage

import (
	"errors"
	"os"

	"github.com/berth-dev/berth/pkg/innodb"
)

// undo are kinds of damage to undo tablespaces.
func undo() []Case {
	return []Case{
		{"7", "undo tablespace deleted", Stopped, []innodb.Code{innodb.SpaceMissing, innodb.UndoHeader}, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path("undo001")) }},
		{"7b", "both undo tablespaces deleted", Stopped, []innodb.Code{innodb.SpaceMissing, innodb.UndoHeader}, innodb.Fatal, func(s *scene, _ Material) error {
			return errors.Join(os.Remove(s.path("undo001")), os.Remove(s.path("undo002")))
		}},
		{"7c", "bit flip in a rollback segment's header", Stopped, []innodb.Code{innodb.PageChecksum, innodb.UndoHeader}, innodb.Fatal, func(s *scene, _ Material) error { return s.flipPage("undo001", 3) }},
	}
}

// system are kinds of damage to the system tablespace.
func system() []Case {
	flip := func(id, what string, no int, codes ...innodb.Code) Case {
		codes = append(codes, innodb.PageChecksum)
		return Case{id, what, Stopped, codes, innodb.Fatal, func(s *scene, _ Material) error { return s.flipPage("ibdata1", no) }}
	}
	return []Case{
		flip("D1", "ibdata1 page 0 flipped", 0, innodb.SpaceHeader),
		flip("D2", "ibdata1 page 5 (TRX_SYS) flipped", 5, innodb.UndoHeader),
		flip("D3", "ibdata1 page 6 (rollback segment) flipped", 6, innodb.UndoHeader),
		flip("D4", "ibdata1 page 7 (dictionary header) flipped", 7, innodb.DictionaryPage),
		flip("D5", "ibdata1 page 8 (SYS_TABLES) flipped", 8, innodb.DictionaryPage),
		{"D6", "ibdata1 truncated", Stopped, []innodb.Code{innodb.SpaceSize}, innodb.Fatal, func(s *scene, _ Material) error {
			return os.Truncate(s.path("ibdata1"), 500*pageSize+int64(s.rand.IntN(100))*pageSize)
		}},
		{"D7", "ibdata1 deleted", Stopped, []innodb.Code{innodb.FileMissing, innodb.SpaceMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.Remove(s.path("ibdata1")) }},
		{"D7b", "ibdata1, redo and undo deleted", Stopped, []innodb.Code{innodb.FileMissing, innodb.SpaceMissing}, innodb.Fatal, func(s *scene, _ Material) error {
			return errors.Join(os.Remove(s.path("ibdata1")), os.Remove(s.path(redo)), os.Remove(s.path("undo001")), os.Remove(s.path("undo002")))
		}},
	}
}

// aria are kinds of damage to what the engine of the system tables keeps.
func aria() []Case {
	const control, log = "aria_log_control", "aria_log.00000001"
	return []Case{
		{"9a", "aria_log_control flipped", Stopped, []innodb.Code{innodb.AriaControl}, innodb.Repairable, func(s *scene, _ Material) error { return s.flipIn(control, 4, 30) }},
		{"9b", "aria_log_control empty", Stopped, []innodb.Code{innodb.AriaControl}, innodb.Repairable, func(s *scene, _ Material) error { return os.Truncate(s.path(control), 0) }},
		{"9c", "aria_log_control deleted", Stopped, []innodb.Code{innodb.AriaControl, innodb.FileMissing}, innodb.Repairable, func(s *scene, _ Material) error { return os.Remove(s.path(control)) }},
		{"9d", "Aria log deleted", Stopped, []innodb.Code{innodb.AriaLog, innodb.FileMissing}, innodb.Repairable, func(s *scene, _ Material) error { return os.Remove(s.path(log)) }},
		{"9e", "Aria log and control file deleted", Stopped, []innodb.Code{innodb.AriaLog, innodb.AriaControl, innodb.FileMissing}, innodb.Repairable, func(s *scene, _ Material) error {
			return errors.Join(os.Remove(s.path(log)), os.Remove(s.path(control)))
		}},
	}
}

// schema are kinds of damage to the schema mysql, and to Aria tables.
func schema() []Case {
	const privileges = "mysql/global_priv"
	return []Case{
		{"E1", "header of global_priv.MAI flipped", Stopped, []innodb.Code{innodb.AriaPage}, innodb.Fatal, func(s *scene, _ Material) error { return s.flip(privileges+".MAI", s.rand.IntN(4)) }},
		{"E2", "bit flip in global_priv.MAD", Stopped, []innodb.Code{innodb.AriaPage}, innodb.Fatal, func(s *scene, _ Material) error { return s.flipIn(privileges+".MAD", 8192+16, 8192+400) }},
		{"E3", "global_priv.MAD empty", Stopped, []innodb.Code{innodb.AriaPage, innodb.FileMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.Truncate(s.path(privileges+".MAD"), 0) }},
		{"E4", "global_priv.* deleted", Stopped, []innodb.Code{innodb.FileMissing}, innodb.Fatal, func(s *scene, _ Material) error {
			return errors.Join(os.Remove(s.path(privileges+".MAD")), os.Remove(s.path(privileges+".MAI")), os.Remove(s.path(privileges+".frm")))
		}},
		{"E5", "schema mysql deleted", Stopped, []innodb.Code{innodb.FileMissing}, innodb.Fatal, func(s *scene, _ Material) error { return os.RemoveAll(s.path("mysql")) }},
		{"E6", "mysql/innodb_table_stats.ibd flipped", Stopped, []innodb.Code{innodb.PageChecksum}, innodb.Fatal, func(s *scene, _ Material) error { return s.flipPage("mysql/innodb_table_stats.ibd", 3) }},
		{"E7", "mysql/plugin.frm empty", Stopped, []innodb.Code{innodb.FrmDamaged}, innodb.Fatal, func(s *scene, _ Material) error { return os.Truncate(s.path("mysql/plugin.frm"), 0) }},
		{"E8", "bit flip in a user's Aria table", Stopped, []innodb.Code{innodb.AriaPage}, innodb.Fatal, func(s *scene, _ Material) error { return s.flipIn("cargo/aria.MAD", 8192+16, 8192+400) }},
	}
}

// unfinished are directories that a server left in the middle of something; there
// is nothing to add.
func unfinished() []Case {
	nothing := func(*scene, Material) error { return nil }
	return []Case{
		{"F1", "copy from a donor killed half way", Transfer, []innodb.Code{innodb.TransferPartial}, innodb.Fatal, nothing},
		{"F2", "copy from a donor killed before its data", Transfer, []innodb.Code{innodb.TransferPartial, innodb.FileMissing}, innodb.Fatal, func(s *scene, _ Material) error {
			entries, err := os.ReadDir(s.dir)
			if err != nil {
				return err
			}
			for _, e := range entries {
				if name := e.Name(); name != "sst_in_progress" && name != "grastate.dat" && name != "gvwstate.dat" && name != "galera.cache" {
					err = errors.Join(err, os.RemoveAll(s.path(name)))
				}
			}
			return err
		}},
		{"F3", "killed inside a DDL statement", Definition, []innodb.Code{innodb.Grastate}, innodb.Repairable, nothing},
	}
}
