package corpus

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// schema is the database that the load writes to.
const schema = "cargo"

// columns are those of every table of a format.
const columns = `(id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, c CHAR(120) NOT NULL, pad VARCHAR(200) NOT NULL, doc MEDIUMTEXT, KEY k (k))`

// oddities are objects with files of unusual names, kinds or contents, none of
// which is damage.
var oddities = []string{
	"CREATE TABLE `odd name-ä` (id INT PRIMARY KEY, v INT AS (id*2) VIRTUAL, KEY(v))",
	"CREATE TABLE parts (id INT, v INT, KEY(id)) PARTITION BY RANGE(id) (PARTITION p0 VALUES LESS THAN (100), PARTITION `p 1` VALUES LESS THAN MAXVALUE)",
	"CREATE TABLE words (id INT PRIMARY KEY, body TEXT, FULLTEXT KEY body (body))",
	"CREATE TABLE places (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL INDEX(g))",
	"CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
	"CREATE TABLE parent (id INT PRIMARY KEY)",
	"CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
	"CREATE TABLE instant (id INT PRIMARY KEY)",
	"INSERT INTO instant VALUES (1),(2)",
	"ALTER TABLE instant ADD COLUMN a INT DEFAULT 7 FIRST, ALGORITHM=INSTANT",
	"ALTER TABLE instant DROP COLUMN a, ALGORITHM=INSTANT",
	"CREATE SEQUENCE counter INCREMENT BY 0", /* the only kind under Galera */
	"CREATE VIEW seen AS SELECT id FROM parent",
	"CREATE TRIGGER tick AFTER INSERT ON parent FOR EACH ROW SET @x = 1",
	"CREATE TABLE aria (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=Aria",
	"CREATE TABLE plainaria (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=Aria TRANSACTIONAL=0",
	"CREATE TABLE myisam (id INT PRIMARY KEY, v VARCHAR(100)) ENGINE=MyISAM",
	"CREATE TABLE csv (id INT NOT NULL) ENGINE=CSV",
	"INSERT INTO `odd name-ä` (id) SELECT seq FROM seq_1_to_300",
	"INSERT INTO parts SELECT seq, seq FROM seq_1_to_300",
	"INSERT INTO words SELECT seq, CONCAT('word', seq, ' common') FROM seq_1_to_300",
	"INSERT INTO places SELECT seq, POINT(seq, seq) FROM seq_1_to_300",
	"INSERT INTO history SELECT seq, seq FROM seq_1_to_300",
	"UPDATE history SET v = v + 1",
	"INSERT INTO parent SELECT seq FROM seq_1_to_50",
	"INSERT INTO child SELECT seq, seq FROM seq_1_to_50",
	"INSERT INTO aria SELECT seq, 'a' FROM seq_1_to_300",
	"INSERT INTO plainaria SELECT seq, 'a' FROM seq_1_to_300",
	"INSERT INTO myisam SELECT seq, 'a' FROM seq_1_to_300",
	"INSERT INTO csv SELECT seq FROM seq_1_to_30",
	"SELECT NEXTVAL(counter)",
}

// Create makes the tables of the server's format with so many rows each, and the
// odd ones.
func (s *Server) Create(ctx context.Context, rows int) error {
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	statements := []string{"CREATE DATABASE " + schema, "USE " + schema}
	for _, t := range s.dir.Format.Tables {
		statements = append(statements, t.Before...)
		statements = append(statements, strings.TrimSpace(fmt.Sprintf("CREATE TABLE %s %s %s", t.Name, columns, strings.ReplaceAll(t.Options, "%s", s.dir.outside()))))
		statements = append(statements, fill(t.Name, rows))
		if len(t.Before) > 0 { // settings of the server that count when pages are written
			statements = append(statements, "FLUSH TABLES "+t.Name+" FOR EXPORT", "UNLOCK TABLES")
		}
	}
	return execute(ctx, conn, append(statements, oddities...)...)
}

// fill inserts rows whose text compresses about as well as prose does; every
// eighth has a document that does not fit into its page.
func fill(table string, rows int) string {
	return fmt.Sprintf("INSERT INTO %s (k, c, pad, doc) SELECT seq*7919 %% 100003, MD5(seq), CONCAT(SHA1(seq), REPEAT('pad ', seq %% 30)),"+
		" IF(seq %% 8, NULL, REPEAT(SHA1(seq), 100 + seq %% 500)) FROM seq_1_to_%d", table, max(rows, 2))
}

func execute(ctx context.Context, conn *sql.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
