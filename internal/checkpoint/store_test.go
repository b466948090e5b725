package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faulty is a storage client in memory that can be slow and can fail, which the real file storage does only on a full or broken
// disk. It counts transactions and written keys.
type faulty struct {
	mu     sync.Mutex
	values map[string][]byte
	fail   error
	panics bool
	delay  time.Duration
	writes []string
	closed bool
}

func (f *faulty) Batch(_ context.Context, ops ...*storage.Operation) error {
	f.mu.Lock()
	delay, fail, panics := f.delay, f.fail, f.panics
	f.mu.Unlock()
	time.Sleep(delay)
	if panics {
		panic("assertion failed: as bbolt says of a damaged page")
	}
	if fail != nil {
		return fail
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = f.values[op.Key]
		case storage.Set:
			f.values[op.Key] = op.Value
			f.writes = append(f.writes, op.Key)
		case storage.Delete:
			delete(f.values, op.Key)
		}
	}
	return nil
}

func (f *faulty) Get(context.Context, string) ([]byte, error) { panic("not used") }
func (f *faulty) Set(context.Context, string, []byte) error   { panic("not used") }
func (f *faulty) Delete(context.Context, string) error        { panic("not used") }
func (f *faulty) Close(context.Context) error                 { f.closed = true; return nil }
func (f *faulty) set(change func(*faulty))                    { f.mu.Lock(); defer f.mu.Unlock(); change(f) }
func (f *faulty) written() (keys []string) {
	f.set(func(f *faulty) { keys = f.writes; f.writes = nil })
	return keys
}
func newFaulty(values map[string][]byte) *faulty { return &faulty{values: maps.Clone(values)} }
func (f *faulty) snapshot() (values map[string][]byte) {
	f.set(func(f *faulty) { values = maps.Clone(f.values) })
	return values
}

type running struct {
	*Store
	group  *lifecycle.Group
	errors []error
}

// start runs a store in a synctest bubble.
func start(t *testing.T, client storage.Client) *running {
	r := &running{group: lifecycle.NewGroup(t.Context(), func(err error) { t.Error(err) })}
	r.Store = New(Settings{Client: client, Format: 1, Wrote: func(int) {}, Failed: func(err error) { r.errors = append(r.errors, err) }})
	_, err := r.Load(t.Context())
	require.NoError(t, err)
	r.group.Go("checkpoint", "", r.Run)
	return r
}

func (r *running) stop(t *testing.T) { require.NoError(t, r.group.Stop(t.Context(), time.Minute)) }

func load(t *testing.T, client storage.Client) (map[string]string, error) {
	t.Helper()
	loaded, err := New(Settings{Client: client, Format: 1}).Load(t.Context())
	texts := make(map[string]string)
	for key, payload := range loaded {
		texts[key] = string(payload)
	}
	return texts, err
}

func TestPositionsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		for i := range 2500 {
			s.Put(fmt.Sprintf("file/%d", i), []byte{byte(i)})
		}
		s.Put("file/7", []byte("moved"))
		s.Put("file/empty", nil)
		s.Delete("file/8")
		s.stop(t)
		require.True(t, client.closed)
		loaded, err := load(t, client)
		require.NoError(t, err)
		require.Len(t, loaded, 2500)
		require.Equal(t, "moved", loaded["file/7"])
		require.NotContains(t, loaded, "file/8")
		require.Contains(t, loaded, "file/empty")
	})
}

func TestSyncReturnsWhenWrittenAndOnlyWhatMovedIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		defer s.stop(t)
		s.Put("a", []byte("1"))
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		require.Equal(t, []string{"a", shardKey(shardOf("a"))}, client.written())
		s.Put("a", []byte("2"))
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		require.Equal(t, []string{"a"}, client.written(), "the index did not change")
		time.Sleep(time.Hour)
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		require.Empty(t, client.written())
	})
}

func TestSyncDoesNotWaitForWhatOthersPutLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		defer s.stop(t)
		s.Put("a", []byte("1"))
		mark := s.Mark()
		require.NoError(t, s.Sync(t.Context(), mark))
		client.set(func(f *faulty) { f.delay = time.Minute })
		s.Put("b", []byte("1"))
		began := time.Now()
		require.NoError(t, s.Sync(t.Context(), mark))
		require.Zero(t, time.Since(began))
	})
}

func TestSlowStorageDelaysADeliveryByABoundOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		client.set(func(f *faulty) { f.delay = time.Minute })
		began := time.Now()
		s.Put("a", []byte("1"))
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		require.Equal(t, syncWait, time.Since(began))
		s.stop(t)
	})
}

func TestSyncEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		client.set(func(f *faulty) { f.delay = time.Minute })
		s.Put("a", nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Sync(ctx, s.Mark()), context.DeadlineExceeded)
		s.stop(t)
	})
}

func TestFailingStorageIsToldAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		full := errors.New("no space left on device")
		client.set(func(f *faulty) { f.fail = full })
		s.Put("a", []byte("1"))
		s.Put("b", []byte("1"))
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		s.Put("a", []byte("2"))
		s.Delete("b")
		s.Put("c", []byte("1"))
		began := time.Now()
		require.NoError(t, s.Sync(t.Context(), s.Mark()))
		require.Zero(t, time.Since(began), "a failing storage is not waited for")
		time.Sleep(10 * retryWait)
		client.set(func(f *faulty) { f.fail = nil })
		time.Sleep(2 * retryWait)
		loaded, err := load(t, client)
		s.stop(t)
		require.ErrorIs(t, s.errors[0], full)
		require.NoError(t, s.errors[len(s.errors)-1], "the end of the failure is told")
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a": "2", "c": "1"}, loaded)
	})
}

func TestStorageThatPanicsFailsAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		client.set(func(f *faulty) { f.panics = true })
		s.Put("a", []byte("1"))
		synctest.Wait()
		require.ErrorContains(t, s.errors[0], "assertion failed")
		_, err := load(t, client)
		require.ErrorContains(t, err, "assertion failed")
		client.set(func(f *faulty) { f.panics = false })
		time.Sleep(2 * retryWait)
		loaded, err := load(t, client)
		s.stop(t)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a": "1"}, loaded)
	})
}

// TestFaultInTheStorageIsAnError: what a database that is mapped into memory does when its file is cut.
func TestFaultInTheStorageIsAnError(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		if err != nil {
			return err
		}
		return b.Put([]byte("k"), make([]byte, 1<<16))
	}))
	require.NoError(t, os.Truncate(db.Path(), 2*int64(os.Getpagesize())))
	_, err = load(t, mapped{newFaulty(nil), db})
	require.ErrorContains(t, err, "panicked")
}

// mapped reads from a real database.
type mapped struct {
	*faulty
	db *bbolt.DB
}

func (m mapped) Batch(context.Context, ...*storage.Operation) error {
	return m.db.View(func(tx *bbolt.Tx) error {
		tx.Bucket([]byte("b")).Get([]byte("k"))
		return nil
	})
}

func TestPositionsKnownToBeMissingAreDamage(t *testing.T) {
	lost := errors.New("the database was set aside")
	_, err := New(Settings{Client: newFaulty(nil), Format: 1, Lost: lost}).Load(t.Context())
	var damaged *DamagedError
	require.ErrorAs(t, err, &damaged)
	require.True(t, damaged.Index)
	require.ErrorIs(t, err, lost)
	require.ErrorContains(t, err, "unknown number")
}

func TestStopWithFailingStorageEndsAfterOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		client.set(func(f *faulty) { f.fail = errors.New("read-only file system") })
		s.Put("a", []byte("1"))
		began := time.Now()
		s.stop(t)
		require.Less(t, time.Since(began), retryWait)
		require.True(t, client.closed)
		s.Put("a", []byte("late"))
		require.NoError(t, s.Sync(t.Context(), s.Mark()), "a closed store is not waited for")
	})
}

func TestWithoutStorageNothingIsKept(t *testing.T) {
	s := New(Settings{})
	loaded, err := s.Load(t.Context())
	require.NoError(t, err)
	require.Empty(t, loaded)
	s.Put("a", []byte("1"))
	require.NoError(t, s.Sync(t.Context(), s.Mark()))
	s.Run(t.Context())
}

func TestStorageThatCannotBeReadIsNotAnEmptyOne(t *testing.T) {
	client := newFaulty(nil)
	client.fail = errors.New("input/output error")
	_, err := load(t, client)
	require.ErrorIs(t, err, client.fail)
	var damaged *DamagedError
	require.NotErrorAs(t, err, &damaged)
}

func TestDamagedValuesAreNamedAndTheOthersLoaded(t *testing.T) {
	var intact map[string][]byte
	synctest.Test(t, func(t *testing.T) {
		client := newFaulty(map[string][]byte{})
		s := start(t, client)
		s.Put("a", []byte("position of a"))
		s.Put("b", []byte("position of b"))
		s.stop(t)
		intact = client.snapshot()
	})
	value := intact["a"]
	damages := map[string][]byte{"empty": {}, "newer format": seal(2, []byte("position of a"))}
	for cut := range value {
		damages[fmt.Sprintf("cut at %d", cut)] = value[:cut]
		flipped := append([]byte(nil), value...)
		flipped[cut] ^= 0x40
		damages[fmt.Sprintf("byte %d flipped", cut)] = flipped
	}
	for name, bad := range damages {
		t.Run(name, func(t *testing.T) {
			client := newFaulty(intact)
			client.values["a"] = bad
			loaded, err := load(t, client)
			var damaged *DamagedError
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, []string{"a"}, damaged.Keys)
			require.False(t, damaged.Index)
			require.Equal(t, map[string]string{"b": "position of b"}, loaded)
		})
	}
	t.Run("index", func(t *testing.T) {
		client := newFaulty(intact)
		client.values[shardKey(shardOf("a"))] = []byte("garbage")
		_, err := load(t, client)
		var damaged *DamagedError
		require.ErrorAs(t, err, &damaged)
		require.True(t, damaged.Index)
	})
	t.Run("value missing", func(t *testing.T) {
		client := newFaulty(intact)
		delete(client.values, "a")
		_, err := load(t, client)
		require.Error(t, err)
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(seal(1, []byte("payload")))
	f.Fuzz(func(t *testing.T, value []byte) {
		payload, err := open(1, value)
		if err == nil {
			require.Equal(t, value, seal(1, payload))
		}
	})
}

func BenchmarkPutAndWrite(b *testing.B) {
	client := newFaulty(map[string][]byte{})
	s := New(Settings{Client: client, Format: 1, Wrote: func(int) {}, Failed: func(error) {}})
	payload := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		s.Put("file/1", payload)
		if err := s.write(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
