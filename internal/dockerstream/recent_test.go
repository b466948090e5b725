package dockerstream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// repeated returns what an engine sends that begins anew at the n-th record before what it sent last.
func repeated(log []record, at, from int) []record {
	return append(append(append([]record(nil), log[:at]...), log[from:at]...), log[at:]...)
}

func TestRepeatedPiecesOfLongLinesAreDropped(t *testing.T) {
	a, b := unlike("a", 3), unlike("b", 2)
	log := append(cut(Stderr, base, a+"\n"), stderr(base+1, "after\n"), stdout(base+2, "other\n"))
	log = append(log, cut(Stderr, base+3, b+"\n")...)
	log = append(log, stderr(base+4, "end\n"))
	want := []string{line(Stderr, 0, a), line(Stderr, 1, "after"), line(Stdout, 2, "other"), line(Stderr, 3, b), line(Stderr, 4, "end")}
	for at := range log {
		for from := range at {
			g := &got{}
			l := newLines(g, Rules{MaxSize: 1 << 20, DropRepeats: true}, Window{})
			l.Opened(false)
			feed(t, l, repeated(log, at, from))
			require.Equal(t, want, g.lines, "the records from %d on come again before %d", from, at)
		}
	}
}

// Equal pieces of a line are no repetition: they are kept where the text repeats itself.
func TestEqualPiecesOfALineAreKept(t *testing.T) {
	for _, period := range []string{"x", "ab", "0.0, ", strings.Repeat("0123456789", 50)} {
		text := strings.Repeat(period, 10*pieceSize/len(period))
		g := &got{}
		l := newLines(g, Rules{MaxSize: 1 << 20, DropRepeats: true}, Window{})
		l.Opened(false)
		log := cut(Stdout, base, text+"\n")
		feed(t, l, append(append(log, log...), stdout(base+1, "end\n")))
		require.Equal(t, []string{line(Stdout, 0, text), line(Stdout, 1, "end")}, g.lines)
	}
}

// An engine may send the file that it reads again from its beginning at any time, whatever is in it.
func TestWhateverComesAgainIsDropped(t *testing.T) {
	for rules, r := range map[string]Rules{
		"lines":            {MaxSize: 1 << 20},
		"split":            {MaxSize: 20_000},
		"cut off":          {MaxSize: 20_000, DropRest: true},
		"of several lines": {MaxSize: 1 << 20, Starts: func(text []byte) bool { return text[0] < 'h' }},
	} {
		t.Run(rules, func(t *testing.T) {
			r.DropRepeats = true
			for range 40 {
				seed := rand.Uint64()
				rnd := rand.New(rand.NewPCG(seed, 0))
				var queues [2][]record
				for s := range queues {
					for i := range int64(30) {
						text := unlike(string(rune('a'+rnd.IntN(26)))+fmt.Sprint(i), rnd.IntN(10)/7*rnd.IntN(3))
						queues[s] = append(queues[s], cut(Stream(s), base+i*int64(time.Millisecond)+rnd.Int64N(1000), text+"\n")...) //nolint:gosec // 0 or 1
					}
				}
				var log []record
				for len(queues[0])+len(queues[1]) > 0 {
					if q := &queues[rnd.IntN(2)]; len(*q) > 0 {
						log, *q = append(log, (*q)[0]), (*q)[1:]
					}
				}
				var want, g got
				l := newLines(&want, r, Window{})
				l.Opened(false)
				feed(t, l, log)
				sent := log
				for at := len(log); at > 0; at -= 1 + rnd.IntN(len(log)) { // backwards, so that what is behind does not move
					sent = repeated(sent, at, rnd.IntN(at))
				}
				l = newLines(&g, r, Window{})
				l.Opened(false)
				for i := range sent {
					feed(t, l, sent[i:i+1])
					if rnd.IntN(3) == 0 {
						l.Commit()
					}
				}
				require.Equal(t, want.lines, g.lines, "seed %d", seed)
			}
		})
	}
}

// unlike returns a text of whole pieces, and something, of which no two are equal.
func unlike(name string, pieces int) string {
	var text bytes.Buffer
	text.WriteString(name)
	for i := 0; text.Len() < pieces*pieceSize; i++ {
		fmt.Fprintf(&text, "%x,", i*i)
	}
	return text.String()
}
