package jsonfile

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/dockerstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// written is a log that a test writes as the engine does.
type written struct {
	t    *testing.T
	path string
	n    int // lines
}

func newWritten(t *testing.T) *written {
	return &written{t: t, path: filepath.Join(t.TempDir(), "x-json.log")}
}

// stampOf is the stamp of a numbered line.
func stampOf(n int) int64 { return int64(1_700_000_000_000_000_000) + int64(n)*int64(time.Millisecond) }

func line(n int, stream, text string) string {
	content, err := json.Marshal(map[string]string{
		"log": text, "stream": stream, "time": time.Unix(0, stampOf(n)).UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		panic(err)
	}
	return string(content) + "\n"
}

// add writes numbered lines.
func (w *written) add(count int) {
	var lines strings.Builder
	for range count {
		w.n++
		lines.WriteString(line(w.n, "stdout", fmt.Sprintf("%d\n", w.n)))
	}
	w.write(lines.String())
}

func (w *written) write(text string) {
	file, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(w.t, err)
	_, err = file.WriteString(text)
	require.NoError(w.t, err)
	require.NoError(w.t, file.Close())
}

// rotate moves the files on, of which as many as given are kept, and begins a new one.
func (w *written) rotate(keep int, compress bool) {
	for i := keep - 1; i > 0; i-- {
		for _, ext := range []string{"", ".gz"} {
			from := fmt.Sprintf("%s.%d%s", w.path, i-1, ext)
			if i == 1 {
				from = w.path + ext
			}
			if _, err := os.Stat(from); err == nil {
				_ = os.Remove(fmt.Sprintf("%s.%d", w.path, i))
				_ = os.Remove(fmt.Sprintf("%s.%d.gz", w.path, i))
				require.NoError(w.t, os.Rename(from, fmt.Sprintf("%s.%d%s", w.path, i, ext)))
			}
		}
	}
	if keep == 1 {
		require.NoError(w.t, os.Remove(w.path))
	}
	w.write("")
	if !compress {
		return
	}
	content, err := os.ReadFile(w.path + ".1")
	require.NoError(w.t, err)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(content)
	require.NoError(w.t, z.Close())
	require.NoError(w.t, os.WriteFile(w.path+".1.gz", packed.Bytes(), 0o600))
	require.NoError(w.t, os.Remove(w.path+".1"))
}

func (w *written) open(since int64) *Log {
	log, err := Open(w.path, since)
	require.NoError(w.t, err)
	log.Stdout, log.Stderr = true, true
	w.t.Cleanup(func() { require.NoError(w.t, log.Close()) })
	return log
}

// rest reads all that is there for now.
func rest(t *testing.T, log *Log) (texts []string) {
	t.Helper()
	texts, err := until(log)
	require.ErrorIs(t, err, io.EOF)
	return texts
}

func until(log *Log) (texts []string, err error) {
	for {
		piece, err := log.Next()
		if err != nil {
			return texts, err
		}
		texts = append(texts, string(piece.Text))
	}
}

func numbers(from, to int) (texts []string) {
	for n := from; n <= to; n++ {
		texts = append(texts, fmt.Sprint(n))
	}
	return texts
}

func TestRotationsWhileReading(t *testing.T) {
	for name, tt := range map[string]struct {
		keep, rotations int
		compress        bool
		look            bool
	}{
		"one":                          {keep: 3, rotations: 1},
		"several between two looks":    {keep: 5, rotations: 3},
		"compressed":                   {keep: 3, rotations: 1, compress: true},
		"several, compressed":          {keep: 5, rotations: 3, compress: true},
		"one file, which is deleted":   {keep: 1, rotations: 1},
		"more than are kept, but held": {keep: 2, rotations: 5, look: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWritten(t)
			w.add(10)
			log := w.open(0)
			require.Equal(t, numbers(1, 10), rest(t, log))
			w.add(5) // not read before the rotation
			for range tt.rotations {
				w.rotate(tt.keep, tt.compress)
				w.add(1000)
				if tt.look {
					log.Look()
				}
			}
			require.Equal(t, numbers(11, 15+1000*tt.rotations), rest(t, log))
			require.Zero(t, log.Malformed())
			w.add(1)
			require.Len(t, rest(t, log), 1)
		})
	}
}

// TestRotationOfAFileThatWasEmpty: its beginning, by which it is known when it is compressed, comes after it was opened.
func TestRotationOfAFileThatWasEmpty(t *testing.T) {
	w := newWritten(t)
	w.write("")
	log := w.open(0)
	require.Empty(t, rest(t, log))
	w.add(3)
	w.rotate(3, true)
	w.add(3)
	require.Equal(t, numbers(1, 6), rest(t, log))
}

func TestHistoryThatIsGoneIsTold(t *testing.T) {
	w := newWritten(t)
	w.add(10)
	log := w.open(0)
	require.Len(t, rest(t, log), 10)
	w.add(1)
	for range 3 {
		w.rotate(2, false)
		w.add(10)
	}
	texts, err := until(log)
	require.ErrorIs(t, err, ErrMoved)
	require.Equal(t, []string{"11"}, texts, "what is held comes first")
	require.Equal(t, numbers(22, 41), rest(t, w.open(stampOf(9))))
}

func TestTruncationIsTold(t *testing.T) {
	for name, after := range map[string]int{"empty": 0, "shorter": 3, "longer than before": 100} {
		t.Run(name, func(t *testing.T) {
			w := newWritten(t)
			w.add(10)
			log := w.open(0)
			require.Len(t, rest(t, log), 10)
			require.NoError(t, os.Truncate(w.path, 0))
			w.add(after)
			_, err := until(log)
			require.ErrorIs(t, err, ErrMoved)
			require.Equal(t, numbers(11, 10+after), append([]string(nil), rest(t, w.open(stampOf(8)))...))
		})
	}
}

func TestOpenAtATime(t *testing.T) {
	for name, tt := range map[string]struct {
		rotations int
		compress  bool
	}{"one file": {}, "some files": {rotations: 4}, "compressed": {rotations: 4, compress: true}} {
		t.Run(name, func(t *testing.T) {
			const each = 8_000
			w := newWritten(t)
			w.add(each)
			for range tt.rotations {
				w.rotate(10, tt.compress)
				w.add(each)
			}
			for _, n := range []int{1, 2, each - 1, each, each + 1, w.n / 2, w.n - 1001, w.n} {
				if n > w.n {
					continue
				}
				log := w.open(stampOf(n))
				piece, err := log.Next()
				require.NoError(t, err)
				require.Equal(t, fmt.Sprint(n), string(piece.Text))
				require.NoError(t, log.Close())
			}
			require.Empty(t, rest(t, w.open(stampOf(w.n+1))))
		})
	}
}

// TestOpenAmongStampsInWrongOrder: what is stored behind the first line that is new enough comes, whatever its stamp.
func TestOpenAmongStampsInWrongOrder(t *testing.T) {
	w := newWritten(t)
	w.add(20_000)
	for _, n := range []int{20_010, 20_001, 20_012, 20_002} {
		w.write(line(n, "stderr", fmt.Sprintf("%d\n", n)))
	}
	w.n = 20_020
	w.add(20_000)
	texts := rest(t, w.open(stampOf(20_005)))
	require.Equal(t, []string{"20010", "20001", "20012", "20002", "20021"}, texts[:5])
	require.Len(t, texts, 4+20_000)
}

func TestDamagedLines(t *testing.T) {
	w := newWritten(t)
	w.write("\x00\x00\n")
	w.add(2)
	w.write("{\"log\":\"torn\n" + strings.Repeat("x", 2*maxLine) + "\n")
	w.add(2)
	log := w.open(0)
	require.Equal(t, numbers(1, 4), rest(t, log))
	require.EqualValues(t, 3, log.Malformed())
	w.write("{\"log\":\"the disk is full")
	require.Empty(t, rest(t, log))
	w.rotate(3, false)
	w.add(1)
	require.Equal(t, numbers(5, 5), rest(t, log))
	require.EqualValues(t, 1, log.Malformed())
	log.Rest()
	w.add(1)
	require.Equal(t, numbers(6, 6), rest(t, log))
	require.LessOrEqual(t, cap(log.buf), bufferMin)
}

func TestPieces(t *testing.T) {
	w := newWritten(t)
	w.write(line(1, "stdout", "cr\r\n") + line(2, "stderr", "\n") + line(3, "stdout", "open") + line(4, "other", "not shown\n"))
	piece := func(stream dockerstream.Stream, n int, text string, open bool) dockerstream.Piece {
		return dockerstream.Piece{Stream: stream, Stamp: stampOf(n), Text: []byte(text), Open: open}
	}
	for name, tt := range map[string]struct {
		terminal, stdout, stderr bool
		want                     []dockerstream.Piece
	}{
		"both":     {false, true, true, []dockerstream.Piece{piece(0, 1, "cr\r", false), piece(1, 2, "", false), piece(0, 3, "open", true)}},
		"stderr":   {false, false, true, []dockerstream.Piece{piece(1, 2, "", false)}},
		"terminal": {true, true, false, []dockerstream.Piece{piece(2, 1, "cr\r", false), piece(2, 3, "open", true)}},
	} {
		t.Run(name, func(t *testing.T) {
			log := w.open(0)
			log.Terminal, log.Stdout, log.Stderr = tt.terminal, tt.stdout, tt.stderr
			for _, want := range tt.want {
				got, err := log.Next()
				require.NoError(t, err)
				got.Text = append([]byte{}, got.Text...)
				require.Equal(t, want, got)
			}
			_, err := log.Next()
			require.ErrorIs(t, err, io.EOF)
		})
	}
}

func TestRemovedLogIsReadToItsEnd(t *testing.T) {
	w := newWritten(t)
	w.add(10)
	w.rotate(3, false)
	w.add(10)
	log := w.open(0)
	require.NoError(t, os.RemoveAll(filepath.Dir(w.path)))
	require.Equal(t, numbers(1, 20), rest(t, log))
	_, err := Open(w.path, 0)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func BenchmarkLog(b *testing.B) {
	const lines = 100_000
	path := filepath.Join(b.TempDir(), "x-json.log")
	var content strings.Builder
	for n := range lines {
		content.WriteString(line(n, "stdout", strings.Repeat("x", 200)+"\n"))
	}
	require.NoError(b, os.WriteFile(path, []byte(content.String()), 0o600))
	b.SetBytes(int64(content.Len()))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		log, err := Open(path, 0)
		require.NoError(b, err)
		log.Stdout = true
		b.StartTimer()
		for range lines {
			if _, err := log.Next(); err != nil {
				b.Fatal(err)
			}
		}
		_ = log.Close()
	}
}
