// Package page says of one InnoDB page whether its content is what was written.
//
// It knows the formats of MariaDB 10.2 and later, and those of MySQL 5.7 to 8.4
// as far as they can be checked without keys. The facts come from MariaDB's
// storage/innobase: include/fil0fil.h, fsp0types.h, fsp0fsp.h, buf/buf0buf.cc
// (buf_page_is_corrupted), buf/buf0checksum.cc, page/page0zip.cc and
// fil/fil0crypt.cc. All integers are big-endian.
package page
