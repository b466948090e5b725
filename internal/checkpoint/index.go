package checkpoint

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
)

// shards bounds what a new or removed key costs: with 100,000 live keys, one shard holds about 1,600.
const shards = 64

// indexFormat is the version of the payload of an index shard.
const indexFormat = 1

// index knows the stored keys by shard, and which shards changed since they were stored.
type index struct {
	keys  [shards]map[string]struct{}
	dirty map[int]struct{}
}

func newIndex() index {
	x := index{dirty: make(map[int]struct{})}
	for i := range x.keys {
		x.keys[i] = make(map[string]struct{})
	}
	return x
}

func shardKey(shard int) string { return fmt.Sprintf("index/%02x", shard) }

func shardOf(key string) int {
	h := fnv.New32a()
	h.Write([]byte(key))
	return int(h.Sum32() % shards)
}

// change makes the key present or absent.
func (x *index) change(key string, present bool) {
	shard := shardOf(key)
	if _, had := x.keys[shard][key]; had == present {
		return
	}
	if present {
		x.keys[shard][key] = struct{}{}
	} else {
		delete(x.keys[shard], key)
	}
	x.dirty[shard] = struct{}{}
}

func (x *index) takeDirty() []int {
	taken := slices.Sorted(maps.Keys(x.dirty))
	clear(x.dirty)
	return taken
}

func (x *index) markDirty(shards []int) {
	for _, shard := range shards {
		x.dirty[shard] = struct{}{}
	}
}

func (x *index) encode(shard int) []byte {
	var payload []byte
	for key := range x.keys[shard] {
		payload = append(payload, key...)
		payload = append(payload, '\n')
	}
	return payload
}

func (x *index) decode(shard int, payload []byte) {
	for key := range bytes.Lines(payload) {
		x.keys[shard][string(bytes.TrimSuffix(key, []byte("\n")))] = struct{}{}
	}
}
