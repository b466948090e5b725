package dockerstream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// decodeAll returns the pieces and messages up to the error that ends the stream.
func decodeAll(r io.Reader) (pieces []string, end error) {
	d := NewDecoder(r)
	for {
		p, err := d.Next()
		var message *EngineError
		switch {
		case errors.As(err, &message):
			pieces = append(pieces, "engine: "+message.Message)
		case err != nil:
			return pieces, err
		default:
			pieces = append(pieces, p.String())
		}
	}
}

func describe(records ...record) (pieces []string) {
	for _, r := range records {
		text, ended := strings.CutSuffix(r.text, "\n")
		pieces = append(pieces, Piece{Stream: r.stream, Stamp: r.stamp, Open: !ended, Text: []byte(text)}.String())
	}
	return pieces
}

func stdout(stamp int64, text string) record   { return record{Stdout, stamp, text} }
func stderr(stamp int64, text string) record   { return record{Stderr, stamp, text} }
func terminal(stamp int64, text string) record { return record{Terminal, stamp, text} }

func TestFramesOfAllSizesInReadsOfAllSizes(t *testing.T) {
	var records []record
	for _, size := range []int{0, 1, 30, 31, 4000, 16383, 16384, 16385, 40000, 300_000} {
		records = append(records, stdout(int64(size), strings.Repeat("a", size)+"\n"), stderr(int64(size), strings.Repeat("b", size)))
	}
	for _, n := range []int{1, 7, 8, 9, 4096, 1 << 20} {
		pieces, end := decodeAll(&slow{data: frames(records...), n: n})
		require.ErrorIs(t, end, io.EOF)
		require.Equal(t, describe(records...), pieces)
	}
}

func TestTerminalPieces(t *testing.T) {
	long := strings.Repeat("x", pieceSize)
	now := time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC).UnixNano()
	for name, records := range map[string][]record{
		"lines":                     {terminal(now, "one\r\n"), terminal(now+1, "\r\n"), terminal(now+2, "three\n")},
		"text like a stamp":         {terminal(now, "2026-11-23T01:02:03.000000004Z x\r\n"), terminal(now+1, "a 2026-11-23T01:02:03.000000004Z \n")},
		"long line":                 {terminal(now, long), terminal(now, long), terminal(now, "end\r\n"), terminal(now+1, "after\r\n")},
		"exactly a piece":           {terminal(now, long), terminal(now, "\n"), terminal(now+1, "after\n")},
		"no line feed at the end":   {terminal(now, "a\n"), terminal(now+1, "prompt> ")},
		"long one without line end": {terminal(now, long), terminal(now, "rest")},
		"ends with a whole piece":   {terminal(now, long), terminal(now, long)},
		"last run ended in a piece": {terminal(now, long), terminal(now+5, "next run\n")},
		"short as can be":           {terminal(now, "\n")},
	} {
		for _, n := range []int{1, 13, 31, 4096, 1 << 20} {
			pieces, end := decodeAll(&slow{data: bare(records...), n: n})
			require.ErrorIs(t, end, io.EOF, name)
			require.Equal(t, describe(records...), pieces, name)
		}
	}
}

func TestStreamThatBreaks(t *testing.T) {
	reset := errors.New("reset")
	whole := frames(stdout(1, "line\n"))
	for name, tt := range map[string]struct {
		data []byte
		err  error
		want error
		n    int // pieces before
	}{
		"between frames":     {whole, nil, io.EOF, 1},
		"within a header":    {append(whole[:len(whole):len(whole)], 1, 0), nil, io.ErrUnexpectedEOF, 1},
		"within a frame":     {whole[:len(whole)-1], nil, io.ErrUnexpectedEOF, 0},
		"reset":              {append(whole[:len(whole):len(whole)], 1), reset, reset, 1},
		"terminal, reset":    {bare(terminal(1, "line\n"), terminal(2, "cut")), reset, reset, 1},
		"terminal, in stamp": {bare(terminal(1, "line\n"), terminal(2, "cut"))[:50], reset, reset, 1},
		"nothing":            {nil, nil, io.EOF, 0},
	} {
		pieces, end := decodeAll(&slow{data: tt.data, n: 5, err: tt.err})
		require.ErrorIs(t, end, tt.want, name)
		require.Len(t, pieces, tt.n, name)
	}
}

func TestMessagesOfTheEngineAreNoPieces(t *testing.T) {
	message := "Error grabbing logs: open /x: no such file\n"
	data := frames(stdout(1, "before\n"))
	data = append(data, 3, 0, 0, 0, 0, 0, 0, byte(len(message)))
	data = append(data, message...)
	data = append(data, frames(stdout(2, "after\n"))...)
	pieces, end := decodeAll(bytes.NewReader(data))
	require.ErrorIs(t, end, io.EOF)
	require.Equal(t, []string{describe(stdout(1, "before\n"))[0], "engine: " + strings.TrimSpace(message), describe(stdout(2, "after\n"))[0]}, pieces)

	for _, n := range []int{1, 1000} {
		pieces, end = decodeAll(&slow{data: append(bare(terminal(1, "before\n")), message...), n: n})
		require.ErrorIs(t, end, io.EOF)
		require.Equal(t, []string{describe(terminal(1, "before\n"))[0], "engine: " + strings.TrimSpace(message)}, pieces)
	}
	pieces, end = decodeAll(strings.NewReader(message))
	require.ErrorIs(t, end, io.EOF)
	require.Equal(t, []string{"engine: " + strings.TrimSpace(message)}, pieces)
}

func TestHostileStreamsEndWithAnErrorAndLittleMemory(t *testing.T) {
	for name, data := range map[string][]byte{
		"huge frame":      {1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x'},
		"unknown stream":  {4, 0, 0, 0, 0, 0, 0, 1, 'x'},
		"no padding":      {1, 1, 0, 0, 0, 0, 0, 1, 'x'},
		"no stamp":        {1, 0, 0, 0, 0, 0, 0, 4, 't', 'e', 'x', 't'},
		"html of a proxy": []byte("<html><body>502</body></html>"),
		"endless text":    bytes.Repeat([]byte("x"), 1<<20),
	} {
		d := NewDecoder(bytes.NewReader(data))
		_, err := d.Next()
		var format *FormatError
		require.ErrorAs(t, err, &format, name)
		require.LessOrEqual(t, len(d.buf), 4*bufferMax, name)
	}
	// What is announced is not believed before it comes.
	d := NewDecoder(bytes.NewReader([]byte{1, 0, 0, 0, 0, 0x1f, 0xff, 0xff, 'x'}))
	_, err := d.Next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.LessOrEqual(t, len(d.buf), bufferMin)
}

func TestBufferedMeansThatNextDoesNotRead(t *testing.T) {
	for _, data := range [][]byte{
		frames(stdout(1, "a\n"), stderr(2, strings.Repeat("b", 9000)), stdout(3, "\n"), stdout(4, "open")),
		bare(terminal(1, "a\n"), terminal(2, strings.Repeat("b", pieceSize)), terminal(2, "\n"), terminal(4, "x\n")),
	} {
		for _, n := range []int{1, 10, 100, 5000, 1 << 20} {
			r := &counting{r: &slow{data: data, n: n}}
			d := NewDecoder(r)
			for {
				buffered, reads := d.Buffered(), r.reads
				if _, err := d.Next(); err != nil {
					break
				}
				if buffered {
					require.Equal(t, reads, r.reads)
				}
			}
		}
	}
}

type counting struct {
	r     io.Reader
	reads int
}

func (c *counting) Read(p []byte) (int, error) {
	c.reads++
	return c.r.Read(p)
}

func TestMoreDoesOneReadAndWaitsForNoWholePiece(t *testing.T) {
	data := frames(stdout(1, "one\n"), stdout(2, "two\n"))
	half := len(data)*3/4 - 1
	d := NewDecoder(io.MultiReader(bytes.NewReader(data[:half]), bytes.NewReader(data[half:])))
	_, err := d.Next()
	require.NoError(t, err)
	require.False(t, d.Buffered())
	require.True(t, d.More())
	piece, err := d.Next()
	require.NoError(t, err)
	require.Equal(t, "two", string(piece.Text))
	require.False(t, d.More(), "the end is told by Next")
	_, err = d.Next()
	require.ErrorIs(t, err, io.EOF)

	d = NewDecoder(io.MultiReader(bytes.NewReader(data[:half-1]), bytes.NewReader(data[half-1:half]), bytes.NewReader(data[half:])))
	_, err = d.Next()
	require.NoError(t, err)
	require.False(t, d.More(), "a byte of a piece")
	require.True(t, d.More())
}

func TestStampsAreReadAsTheTimePackageDoes(t *testing.T) {
	for _, text := range []string{
		"2026-11-23T14:00:00.123456789Z", "1970-01-01T00:00:00.000000000Z", "2000-02-29T23:59:59.999999999Z", "2024-02-29T00:00:00.5Z",
		"2026-11-23T14:00:00.123456789+01:00", "2026-03-01T00:30:00.000000001-07:30", "2100-03-01T00:00:00Z", "2261-12-31T23:59:59.1Z",
	} {
		want, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		got, rest, ok := new(Decoder).cutStamp([]byte(text + " x"))
		require.True(t, ok, text)
		require.Equal(t, want.UnixNano(), got, text)
		require.Equal(t, "x", string(rest), text)
	}
	for _, text := range []string{
		"", "2026-11-23", "2026-13-23T14:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23 14:00:00Z", "2026-11-23T14:00:00.1", "x026-11-23T14:00:00Z",
		"1969-11-23T14:00:00Z",
		"2026-11-23T14:00:00.12345678901234567890Z", // as much of it has to have come as stampMax
	} {
		_, _, ok := new(Decoder).cutStamp([]byte(text + " x"))
		require.False(t, ok, text)
	}
	_, _, ok := new(Decoder).cutStamp([]byte("2026-11-23T14:00:00Z"))
	require.False(t, ok, "no blank")
}

func FuzzDecoder(f *testing.F) {
	f.Add(frames(stdout(1, "a\n"), stderr(2, "b")), 3)
	f.Add(bare(terminal(1, "a\n"), terminal(2, strings.Repeat("x", pieceSize)), terminal(2, "b\r\n")), 100)
	f.Add([]byte("Error grabbing logs: x\n"), 1)
	f.Add(append(bare(terminal(2, strings.Repeat("x", pieceSize))), "2026-11-23T14:00:00.12345678901234567890Z b\n"...), 68)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		n = max(1, min(n, 1<<16))
		whole, wholeEnd := decodeAll(bytes.NewReader(data))
		parts, partsEnd := decodeAll(&slow{data: data, n: n})
		require.Equal(t, whole, parts)
		require.Equal(t, wholeEnd, partsEnd)
	})
}

func FuzzStamp(f *testing.F) {
	f.Add("2026-11-23T14:00:00.123456789+01:00 x")
	f.Fuzz(func(t *testing.T, text string) {
		got, rest, ok := new(Decoder).cutStamp([]byte(text))
		if !ok {
			return
		}
		want, err := time.Parse(time.RFC3339Nano, text[:len(text)-len(rest)-1])
		require.NoError(t, err)
		require.Equal(t, want.UnixNano(), got)
	})
}

func BenchmarkDecoder(b *testing.B) {
	var records []record
	for i := range 1000 {
		records = append(records, stdout(int64(i), strings.Repeat("x", 100)+"\n"))
	}
	data := frames(records...)
	r := bytes.NewReader(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(data)
		d := NewDecoder(r)
		for {
			if _, err := d.Next(); err != nil {
				break
			}
		}
	}
}

// A reader between gives what it has room for, which ends within a piece nearly always.
func TestBufferGrowsThoughReadsEndWithinPieces(t *testing.T) {
	var records []record
	for i := range int64(2000) {
		records = append(records, stdout(i, strings.Repeat("a", 200)+"\n"))
	}
	r := &widest{Reader: bytes.NewReader(frames(records...))}
	pieces, end := decodeAll(r)
	require.ErrorIs(t, end, io.EOF)
	require.Equal(t, describe(records...), pieces)
	require.Greater(t, r.asked, bufferMax/2)
}

// widest knows the most that it was asked for at a time.
type widest struct {
	io.Reader
	asked int
}

func (w *widest) Read(p []byte) (int, error) {
	w.asked = max(w.asked, len(p))
	return w.Reader.Read(p)
}
