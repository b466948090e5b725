// Package checkpoint keeps acknowledged positions over a storage extension of the collector.
//
// A position is an opaque payload under a key that names its source. [Store.Put] takes it after the delivery was acknowledged and never
// waits for the storage; one task ([Store.Run]) writes what moved, in one transaction for all that came together. Before its next
// delivery a reader calls [Store.Sync] for its own last positions, so that a kill repeats no more than one batch of each reader; where the storage
// is slow or fails, Sync lets the reader go on, and the store catches up later.
//
// # Stored form
//
//	key                    value
//	"<source key>"         format (1 byte) | CRC-32C of format and payload (4 bytes, little endian) | payload
//	"index/<00…3f>"        the same frame; payload: the source keys of that shard, each followed by a line feed
//
// A storage extension cannot list its keys, so the index does. It is written only when a key comes or goes.
package checkpoint
