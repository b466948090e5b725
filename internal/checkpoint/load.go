package checkpoint

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// loadChunk is how many values are read in one transaction.
const loadChunk = 1000

// Load reads all stored positions, by key. Values that cannot be read are left out and named in a [*DamagedError]; what was read is
// returned beside it. Any other error comes from the storage, and then nothing is known: a caller that goes on would skip or
// repeat lines, so it tries again.
func (s *Store) Load(ctx context.Context) (map[string][]byte, error) {
	loaded := make(map[string][]byte)
	if s.Client == nil {
		return loaded, nil
	}
	damaged := &DamagedError{Index: s.Lost != nil, First: s.Lost}
	stored, err := s.loadIndex(ctx, damaged)
	if err != nil {
		return nil, err
	}
	for start := 0; start < len(stored); start += loadChunk {
		chunk := stored[start:min(start+loadChunk, len(stored))]
		ops := make([]*storage.Operation, len(chunk))
		for i, key := range chunk {
			ops[i] = storage.GetOperation(key)
		}
		if err := s.transact(ctx, ops); err != nil {
			return nil, fmt.Errorf("read positions: %w", err)
		}
		for _, op := range ops {
			payload, err := open(s.Format, op.Value)
			if err != nil {
				damaged.add(op.Key, err)
				continue
			}
			loaded[op.Key] = payload
		}
	}
	if damaged.First != nil {
		return loaded, damaged
	}
	return loaded, nil
}

// loadIndex fills the index and returns its keys.
func (s *Store) loadIndex(ctx context.Context, damaged *DamagedError) ([]string, error) {
	ops := make([]*storage.Operation, shards)
	for shard := range ops {
		ops[shard] = storage.GetOperation(shardKey(shard))
	}
	if err := s.transact(ctx, ops); err != nil {
		return nil, fmt.Errorf("read the index of positions: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = newIndex()
	var keys []string
	for shard, op := range ops {
		if op.Value == nil {
			continue
		}
		payload, err := open(indexFormat, op.Value)
		if err != nil {
			damaged.Index = true
			damaged.add(op.Key, err)
			continue
		}
		s.index.decode(shard, payload)
		for key := range s.index.keys[shard] {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// DamagedError names stored values that cannot be read: their keys are known, their positions are not.
type DamagedError struct {
	Keys  []string
	Index bool // a part of the index is damaged too: there may be more keys than those that were found
	First error
}

func (e *DamagedError) Error() string {
	if len(e.Keys) == 0 {
		return fmt.Sprintf("an unknown number of stored positions is lost: %v", e.First)
	}
	return fmt.Sprintf("%d stored positions cannot be read, the first is %q: %v", len(e.Keys), e.Keys[0], e.First)
}

func (e *DamagedError) Unwrap() error { return e.First }

func (e *DamagedError) add(key string, err error) {
	e.Keys = append(e.Keys, key)
	if e.First == nil {
		e.First = err
	}
}
