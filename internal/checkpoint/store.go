package checkpoint

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

const (
	// syncWait bounds how long a delivery waits for a slow storage.
	syncWait = 250 * time.Millisecond
	// retryWait is the pause after a failed write.
	retryWait = time.Second
)

// Settings are what a [Store] is made of.
type Settings struct {
	// Client is the storage, owned by the store from here on. Nil keeps positions in memory only.
	Client storage.Client
	// Format is the version of the payloads. Values of another format are reported as damaged.
	Format byte
	// Wrote is told how many keys a transaction wrote; Failed is told of an error of the storage, and of its end by nil.
	Wrote  func(keys int)
	Failed func(error)
	// Lost says why an unknown number of stored positions is known to be missing; nil when none is.
	Lost error
}

// Store keeps the newest position of each key and writes it in the background. All methods are safe for concurrent use, but
// [Store.Load] comes before the first Put and Run is called once.
type Store struct {
	Settings

	mu      sync.Mutex        // guards all below
	pending map[string][]byte // newest payloads not yet written; nil deletes the key
	index   index
	put     uint64        // counts Put and Delete
	written uint64        // the value of put up to which everything is stored
	failing bool          // the last write failed
	moved   chan struct{} // closed and replaced when written or failing changes
	closed  bool          // Run is over: nothing is taken any more
	wake    chan struct{} // has a token when pending is not empty
}

// New makes a store. Without a client it takes positions and forgets them.
func New(settings Settings) *Store {
	return &Store{
		Settings: settings,
		pending:  make(map[string][]byte),
		index:    newIndex(),
		moved:    make(chan struct{}),
		wake:     make(chan struct{}, 1),
	}
}

// Put records the acknowledged position of a key. It does not wait for the storage. The payload is the store's from here on.
func (s *Store) Put(key string, payload []byte) {
	if payload == nil {
		payload = []byte{}
	}
	s.change(key, payload)
}

// Delete forgets a key.
func (s *Store) Delete(key string) { s.change(key, nil) }

func (s *Store) change(key string, payload []byte) {
	if s.Client == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.pending[key] = payload
	s.index.change(key, payload != nil)
	s.put++
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Mark is a moment in the order of what is put.
type Mark uint64

// Mark returns the present one.
func (s *Store) Mark() Mark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Mark(s.put)
}

// Sync waits until all that was put before the mark is stored, but not for a storage that fails, nor longer than 250 ms for a slow one:
// capture goes on without it. It returns an error only when ctx ends.
func (s *Store) Sync(ctx context.Context, mark Mark) error {
	s.mu.Lock()
	var timeout *time.Timer
	for s.written < uint64(mark) && !s.failing && !s.closed {
		moved := s.moved
		s.mu.Unlock()
		if timeout == nil {
			timeout = time.NewTimer(syncWait)
			defer timeout.Stop()
		}
		select {
		case <-moved:
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		s.mu.Lock()
	}
	s.mu.Unlock()
	return nil
}

// Stored says that all that was put is stored; without a client there is nothing to store it in.
func (s *Store) Stored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written >= s.put
}

// Run writes positions until ctx ends, then writes what is left and closes the client. Deliveries have to end before ctx does.
func (s *Store) Run(ctx context.Context) {
	if s.Client == nil {
		return
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.wake:
			if s.write(ctx) != nil {
				_ = lifecycle.Sleep(ctx, retryWait) // when ctx ends the loop does too
				s.rewake()
			}
		}
	}
	graceful := lifecycle.Graceful(ctx)
	s.mu.Lock()
	s.closed = true
	left := len(s.pending)
	s.mu.Unlock()
	if left > 0 {
		_ = s.write(ctx) // already told to Failed; what is lost here is repeated after the next start
	}
	if err := s.Client.Close(graceful); err != nil {
		s.Failed(fmt.Errorf("close storage: %w", err))
	}
	s.advance(0, true)
}

func (s *Store) rewake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write stores all that is pending in one transaction. What fails stays pending.
func (s *Store) write(ctx context.Context) error {
	s.mu.Lock()
	batch, upTo := s.pending, s.put
	s.pending = make(map[string][]byte)
	shards := s.index.takeDirty()
	ops := s.operations(batch, shards)
	s.mu.Unlock()
	if len(ops) == 0 {
		return nil
	}
	// A transaction that has begun is not worth cutting short: it is bounded by the storage, not by what is read.
	if err := s.transact(lifecycle.Graceful(ctx), ops); err != nil {
		s.restore(batch, shards)
		s.advance(0, true)
		s.Failed(fmt.Errorf("write positions: %w", err))
		return err
	}
	s.Wrote(len(ops))
	if s.advance(upTo, false) {
		s.Failed(nil)
	}
	return nil
}

// transact runs one transaction. A storage over a damaged database may panic, or fault where a file is mapped and cut: that is an
// error like others, and the next transaction tries again.
func (s *Store) transact(ctx context.Context, ops []*storage.Operation) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the storage panicked: %v", cause)
		}
	}()
	return s.Client.Batch(ctx, ops...)
}

func (s *Store) operations(batch map[string][]byte, shards []int) []*storage.Operation {
	ops := make([]*storage.Operation, 0, len(batch)+len(shards))
	for key, payload := range batch {
		if payload == nil {
			ops = append(ops, storage.DeleteOperation(key))
		} else {
			ops = append(ops, storage.SetOperation(key, seal(s.Format, payload)))
		}
	}
	for _, shard := range shards {
		ops = append(ops, storage.SetOperation(shardKey(shard), seal(indexFormat, s.index.encode(shard))))
	}
	return ops
}

// restore puts back what a failed write took, except where a newer position has come meanwhile.
func (s *Store) restore(batch map[string][]byte, shards []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(batch, s.pending)
	s.pending = batch
	s.index.markDirty(shards)
}

// advance tells those who wait in Sync, and whether a failure is over by this.
func (s *Store) advance(written uint64, failing bool) (healed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	healed = s.failing && !failing
	s.written = max(s.written, written)
	s.failing = failing
	close(s.moved)
	s.moved = make(chan struct{})
	return healed
}
