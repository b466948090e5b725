// Package boltcheck says whether a database file of bbolt, which file_storage keeps, can be opened.
//
// bbolt itself cannot be asked: it maps the file and follows what is written there, in a goroutine of its own, so that a damaged page
// is a panic or a memory fault that nobody can recover from, and the process ends. So the pages are read here as bytes, with every
// number in them held against the bounds of the file.
//
// # The format, version 2, in the byte order of the machine
//
//	page            id 8 | flags 2 | count 2 | overflow 4 | elements …; a page takes 1 + overflow times the page size
//	meta page       magic 4 | version 4 | page size 4 | flags 4 | root 8 | sequence 8 | freelist 8 | end 8 | txid 8 | FNV-1a 8
//	branch element  position of the key, from the element 4 | size of the key 4 | child page 8
//	leaf element    flags 4 | position of the key 4 | size of the key 4 | size of the value behind it 4
//	bucket          a value in a leaf: root page 8 | sequence 8 | where root is 0, the only page of the bucket
//
// Pages 0 and 1 are the meta pages; the valid one with the higher txid counts. Pages that cannot be reached from its root are free.
// Values are not looked at: what is in them is the matter of who stored them.
package boltcheck
