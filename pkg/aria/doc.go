// Package aria says whether files of the Aria engine are what the server wrote:
// the control file, without which the server does not start, the log, and the
// data and index pages of tables. The tables with accounts and privileges are of
// this engine.
//
// Facts are from MariaDB's storage/maria (ma_control_file.c, ma_loghandler.c,
// ma_open.c, ma_pagecrc.c, ma_bitmap.c).
package aria
