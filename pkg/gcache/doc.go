// Package gcache reads galera.cache, the ring of write sets that Galera keeps on
// disk: of which history they are, and which seqnos there are.
//
// It is the same walk that the server makes when it recovers the cache after a
// crash. Facts are from Galera's gcache/src (gcache_rb_store.cpp, gcache_bh.hpp).
package gcache
