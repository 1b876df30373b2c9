// Package dictionary reads InnoDB's own list of tables (SYS_TABLES) from the
// pages of the system tablespace, to tell which table has to lie in which file.
//
// Facts are from MariaDB's storage/innobase: include/dict0boot.h, dict0load.cc,
// page0page.h and rem0rec.h. MySQL 8 keeps its dictionary elsewhere.
package dictionary
