package boltcheck

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bucket = []byte("default")

// options are those of file_storage.
func options() *bbolt.Options {
	return &bbolt.Options{NoSync: true, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType}
}

// database returns the bytes of a database with that many keys, some rewritten and some deleted, some values longer than a page.
func database(t testing.TB, keys int, o *bbolt.Options) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(path, 0o600, o)
	require.NoError(t, err)
	for start := 0; start < keys; start += 50 {
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			for i := start; i < min(start+50, keys); i++ {
				size := 30
				if i%40 == 0 {
					size = 9_000
				}
				if err := b.Put(fmt.Appendf(nil, "file/%06d", i*7919%keys), bytes.Repeat([]byte{'v'}, size)); err != nil {
					return err
				}
			}
			return b.Delete(fmt.Appendf(nil, "file/%06d", start*7919%keys))
		}))
	}
	require.NoError(t, db.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func check(content []byte) error { return Check(bytes.NewReader(content), int64(len(content))) }

func TestWhatBboltWritesIsSound(t *testing.T) {
	synced := options()
	synced.NoFreelistSync = false
	for _, keys := range []int{0, 1, 30, 2_000} {
		require.NoError(t, check(database(t, keys, options())), "%d keys", keys)
		require.NoError(t, check(database(t, keys, synced)), "%d keys, with a list of free pages", keys)
	}
	large := options()
	large.PageSize = 16 << 10
	require.NoError(t, check(database(t, 500, large)))
}

func TestDamageIsFound(t *testing.T) {
	good := database(t, 2_000, options())
	changed := func(change func(b []byte)) []byte {
		b := bytes.Clone(good)
		change(b)
		return b
	}
	both := func(at int, value byte) []byte {
		return changed(func(b []byte) { b[16+at], b[4096+16+at] = value, value })
	}
	for name, content := range map[string][]byte{
		"one byte":             good[:1],
		"half a meta page":     good[:60],
		"one meta page":        good[:4096],
		"meta pages only":      good[:8192],
		"half":                 good[:len(good)/2],
		"zeroes":               make([]byte, len(good)),
		"other content":        bytes.Repeat([]byte("no database\n"), 5_000),
		"newer version":        both(4, 3),
		"checksums":            changed(func(b []byte) { b[16+56] ^= 1; b[4096+16+56] ^= 1 }),
		"root of another kind": changed(func(b []byte) { order.PutUint16(b[rootOf(t, b)*4096+8:], 4) }),
		"overflow":             changed(func(b []byte) { order.PutUint32(b[rootOf(t, b)*4096+12:], 1<<31) }),
		"too many elements":    changed(func(b []byte) { order.PutUint16(b[rootOf(t, b)*4096+10:], 0xFFFF) }),
	} {
		var damaged *DamagedError
		if err := check(content); !errors.As(err, &damaged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func rootOf(t testing.TB, b []byte) int {
	t.Helper()
	m, err := findMeta(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return int(m.root)
}

func TestErrorOfReadingIsNoDamage(t *testing.T) {
	broken := errors.New("input/output error")
	err := Check(readerAt(func([]byte, int64) (int, error) { return 0, broken }), 1<<20)
	require.ErrorIs(t, err, broken)
	var damaged *DamagedError
	require.NotErrorAs(t, err, &damaged)
}

type readerAt func(p []byte, pos int64) (int, error)

func (r readerAt) ReadAt(p []byte, pos int64) (int, error) { return r(p, pos) }

// TestWhatIsFoundSoundCanBeOpened is what the package is for: bbolt ends the process of this test where it is wrong.
func TestWhatIsFoundSoundCanBeOpened(t *testing.T) {
	good := database(t, 500, options())
	random := rand.New(rand.NewPCG(1, 2))
	opened := 0
	for range 300 {
		content := damage(random, good)
		if check(content) != nil {
			continue
		}
		opened++
		readAndWrite(t, content)
	}
	t.Logf("%d of 300 were sound", opened)
	require.Positive(t, opened)
}

// damage does one of the things that disks and people do.
func damage(random *rand.Rand, good []byte) []byte {
	b := bytes.Clone(good)
	page := random.IntN(len(b)/4096) * 4096
	switch random.IntN(5) {
	case 0:
		return b[:random.IntN(len(b))]
	case 1:
		clear(b[page : page+4096])
	case 2: // an old page, or one that belongs elsewhere
		from := random.IntN(len(b)/4096) * 4096
		copy(b[page:page+4096], good[from:])
	case 3: // where the numbers are
		for range 1 + random.IntN(3) {
			b[page+random.IntN(256)] = byte(random.Uint32())
		}
	default:
		for range 1 + random.IntN(32) {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
	}
	return b
}

func readAndWrite(t *testing.T, content []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	db, err := bbolt.Open(path, 0o600, options())
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(bucket)
		if err != nil {
			return err
		}
		for i := range 50 {
			if err := b.Put(fmt.Appendf(nil, "file/%06d", i*31), []byte("new")); err != nil {
				return err
			}
		}
		return b.ForEach(func(k, v []byte) error {
			if len(k)+len(v) > len(content) {
				return errors.New("longer than the database")
			}
			return nil
		})
	}))
}

func FuzzCheckNeverPanics(f *testing.F) {
	f.Add(database(f, 20, options()))
	f.Fuzz(func(_ *testing.T, content []byte) { _ = check(content) })
}
