package lineformat

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// joined keeps what a joiner emits, as text with marks: … where it is truncated and where it is continued.
type joined struct {
	*Joiner
	records []string
	at      int64
	now     time.Time
}

func join(rules Rules) *joined {
	j := &joined{Joiner: &Joiner{Rules: &rules}, now: time.Unix(1000, 0)}
	j.Emit = j.emit
	return j
}

func (j *joined) emit(r *Record) {
	text := [...]string{"", "out ", "err "}[r.Stream] + mark(r.Continued) + string(r.Text) + mark(r.Truncated)
	j.records = append(j.records, text)
}

func mark(set bool) string {
	if set {
		return "…"
	}
	return ""
}

// add takes entries written as "o+text": stream o, e or none, and + for a text that goes on, else =.
func (j *joined) add(entries ...string) *joined {
	for _, text := range entries {
		e := entry(text)
		j.Add(e, j.at, j.now)
		j.at += 10
	}
	return j
}

func entry(text string) Entry {
	return Entry{Stream: Stream(strings.Index("-oe", text[:1])), Partial: text[1] == '+', Text: []byte(text[2:])} //nolint:gosec // three
}

func TestPiecesAreJoinedPerStream(t *testing.T) {
	j := join(Rules{Max: 100}).add("o+out1-", "e+err1-", "o+out2-", "e=err2", "o=out3", "-=raw")
	require.Equal(t, []string{"err err1-err2", "out out1-out2-out3", "raw"}, j.records)
}

func TestLongLinesOfPieces(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rules   Rules
		entries []string
		want    []string
	}{
		{"exactly max", Rules{Max: 6}, []string{"o+abc", "o=def"}, []string{"out abcdef"}},
		{"exactly max and an empty last piece", Rules{Max: 6}, []string{"o+abc", "o+def", "o="}, []string{"out abcdef"}},
		{"split", Rules{Max: 4}, []string{"o+abc", "o+def", "o=g", "o=h"}, []string{"out abcd…", "out …efg", "out h"}},
		{"split in one piece", Rules{Max: 2}, []string{"o=abcdef"}, []string{"out ab…", "out …cd…", "out …ef"}},
		{"no character torn", Rules{Max: 4}, []string{"o+ab\xe2\x82", "o=\xacd"}, []string{"out ab…", "out …€d"}},
		{"truncate", Rules{Max: 4, Truncate: true}, []string{"o+abc", "o+def", "e=x", "o=g", "o=h"}, []string{"out abcd…", "err x", "out h"}},
		{"truncate in one piece", Rules{Max: 2, Truncate: true}, []string{"o=abcdef", "o=h"}, []string{"out ab…", "out h"}},
		{"empty lines", Rules{Max: 4}, []string{"o=", "o+", "o="}, []string{"out ", "out "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, join(tt.rules).add(tt.entries...).records)
		})
	}
}

func TestOrphanIsFlushedAfterItsTimeAndMarked(t *testing.T) {
	j := join(Rules{Max: 100, LineWait: time.Minute}).add("o+abc", "e=other")
	require.Equal(t, j.now.Add(time.Minute), j.Due())
	j.now = j.now.Add(30 * time.Second)
	j.add("o+def").Flush(j.now.Add(30 * time.Second))
	require.Equal(t, []string{"err other"}, j.records, "its time begins anew with each piece")
	j.Flush(j.Due())
	require.Equal(t, []string{"err other", "out abcdef…"}, j.records)
	require.True(t, j.Due().IsZero())
	require.Equal(t, []string{"err other", "out abcdef…", "out …rest", "out next"}, j.add("o=rest", "o=next").records)
}

func multiline(t testing.TB, pattern string, start, omit bool) *Multiline {
	t.Helper()
	m, err := NewMultiline(pattern, start, omit)
	require.NoError(t, err)
	return m
}

func TestLinesAreGrouped(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		start, omit   bool
		lines, want   []string
	}{
		{"by start", `^\d+`, true, false, []string{"1 a", " b", "", "2 c", "3 d"}, []string{"1 a\n b\n", "2 c", "3 d"}},
		{"what comes before the first start", `^\d+`, true, false, []string{"x", "y", "1 a"}, []string{"x\ny", "1 a"}},
		{"by start, omitted", `^\d+ `, true, true, []string{"1 a", "b", "2 "}, []string{"a\nb", ""}},
		{"by a start within the line", `S\d`, true, false, []string{"x S1 a S2 b", "c"}, []string{"x ", "S1 a ", "S2 b\nc"}},
		{"every line", `^`, true, false, []string{"a", "", "b"}, []string{"a", "", "b"}},
		{"by end", `END$`, false, false, []string{"a", "b END", "c END", "", "END"}, []string{"a\nb END", "c END", "\nEND"}},
		{"by end, omitted", `END$`, false, true, []string{"a", "b END", "c", "END", "END", "d"}, []string{"a\nb ", "c", "", "d"}},
		{"by an end within the line", `;`, false, true, []string{"a;b;;c", "d;"}, []string{"a", "b", "", "c\nd"}},
		{"by the end of each line", `$`, false, false, []string{"a", "", "b"}, []string{"a", "", "b"}},
		{"a pattern that matches nothing inside", `x*`, true, false, []string{"abc", "xd"}, []string{"abc", "xd"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := join(Rules{Max: 100, Multiline: multiline(t, tt.pattern, tt.start, tt.omit)})
			for _, line := range tt.lines {
				j.add("-=" + line)
			}
			j.FlushAll()
			require.Equal(t, tt.want, j.records)
		})
	}
}

func TestLongGroups(t *testing.T) {
	for _, tt := range []struct {
		name     string
		truncate bool
		entries  []string
		want     []string
	}{
		{"split between lines", false, []string{"-=1 a", "-=bbbb", "-=cccc", "-=2"}, []string{"1 a\nbbbb…", "…cccc", "2"}},
		{"truncate", true, []string{"-=1 a", "-=bbbb", "-=cccc", "-=dddd", "-=2"}, []string{"1 a\nbbbb…", "2"}},
		{"a line of pieces", false, []string{"o=1 a", "o+bb", "e=1 x", "o=bb", "o=2", "e=1"}, []string{"out 1 a\nbbbb", "err 1 x", "out 2", "err 1"}},
		{"a line longer than max", false, []string{"-=1 a", "-+bbbbbbbbbb", "-=cccc", "-=d", "-=2"}, []string{"1 a…", "…bbbbbbbbbb…", "…cccc\nd", "2"}},
		{"a start that is no beginning of a line", false, []string{"-+1bbbbbbbbb", "-=1", "-=2"}, []string{"1bbbbbbbbb…", "…1", "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := join(Rules{Max: 10, Truncate: tt.truncate, Multiline: multiline(t, `^\d`, true, false)})
			j.add(tt.entries...).FlushAll()
			require.Equal(t, tt.want, j.records)
		})
	}
}

func TestGroupIsFlushedAfterItsTime(t *testing.T) {
	j := join(Rules{Max: 100, GroupWait: time.Second, Multiline: multiline(t, `^\d`, true, false)}).add("-=1", "-=a")
	j.Flush(j.now.Add(time.Second - 1))
	require.Empty(t, j.records)
	j.Flush(j.now.Add(time.Second))
	require.Equal(t, []string{"1\na"}, j.records)
	j.add("-=b").FlushAll()
	require.Equal(t, []string{"1\na", "b"}, j.records)
}

func TestPatternsThatCannotWorkAreRefused(t *testing.T) {
	for _, pattern := range []string{`(`, "a\nb", `a\n+`} {
		_, err := NewMultiline(pattern, true, false)
		require.Error(t, err, pattern)
	}
	for _, pattern := range []string{`\s`, `[^x]`, `(?s).`, `a.b`} {
		_, err := NewMultiline(pattern, true, false)
		require.NoError(t, err, pattern)
	}
}

// again makes a joiner that goes on where another was, as after a restart, and adds what has to be added again.
func (j *joined) again(t testing.TB, entries []Entry) *joined {
	open, rest, err := DecodeOpen(AppendOpen(nil, j.Open(nil)))
	require.NoError(t, err)
	require.Empty(t, rest)
	next := join(*j.Rules)
	next.records, next.at, next.now = j.records, j.at, j.now
	before := len(next.records)
	t.Logf("open %+v", open)
	from, more := next.Restore(open, j.at, j.now)
	require.Empty(t, more)
	for at := from; at < j.at; at += 10 {
		next.Add(entries[at/10], at, next.now)
	}
	require.Len(t, next.records, before, "what is added again makes no record by itself")
	return next
}

// FuzzRestart takes random entries, with and without restarts and a change of the file in between: the records are the same.
func FuzzRestart(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a seed makes it the same again
		rules := Rules{Max: 4 + r.IntN(12), Truncate: r.IntN(2) == 0}
		if r.IntN(2) == 0 {
			rules.Multiline = multiline(t, `[1€]`, r.IntN(2) == 0, r.IntN(2) == 0)
		}
		straight, stopped := join(rules), join(rules)
		var entries []Entry
		var log []string
		for range 1 + r.IntN(40) {
			e := Entry{Stream: Stream(r.IntN(3)), Partial: r.IntN(2) == 0} //nolint:gosec // three
			for range r.IntN(8) {
				e.Text = append(e.Text, []string{"a", "b", "1", "€", "\xe2", "\n"}[r.IntN(6)]...)
			}
			log = append(log, fmt.Sprintf("%+v", e))
			straight.Add(e, straight.at, straight.now)
			straight.at += 10
			entries = append(entries, e)
			stopped.Add(e, stopped.at, stopped.now)
			stopped.at += 10
			switch r.IntN(10) {
			case 0, 1, 2:
				stopped = stopped.again(t, entries)
			case 3: // what is open goes on in another file, of which nothing can be read again yet
				open := stopped.Take()
				require.Empty(t, stopped.Open(nil))
				next := join(rules)
				next.records = stopped.records
				next.TakeOver(open, next.now)
				stopped, entries = next, nil
			}
		}
		straight.FlushAll()
		stopped.FlushAll()
		require.Equal(t, straight.records, stopped.records, "seed %d: %+v %s", seed, rules, strings.Join(log, "\n"))
	})
}

func TestDamagedOpenLinesAreFound(t *testing.T) {
	j := join(Rules{Max: 100}).add("o+abc", "e+x", "e=y", "e+z")
	good := AppendOpen(nil, append(j.Open(nil), j.Take()...))
	for i := range good {
		_, _, err := DecodeOpen(good[:i])
		require.Error(t, err, i)
	}
	_, rest, err := DecodeOpen(append(good, "rest"...))
	require.NoError(t, err)
	require.Equal(t, "rest", string(rest))
}

func FuzzDecodeOpen(f *testing.F) {
	f.Add(AppendOpen(nil, join(Rules{Max: 100}).add("o+abc", "e+x").Take()))
	f.Fuzz(func(_ *testing.T, payload []byte) {
		if open, _, err := DecodeOpen(payload); err == nil {
			join(Rules{Max: 10}).Restore(open, 100, time.Time{})
		}
	})
}

func BenchmarkJoin(b *testing.B) {
	line := Entry{Text: []byte(strings.Repeat("x", 150)), Stream: Stdout, Time: 1}
	piece := line
	piece.Partial = true
	start := Entry{Stream: Stdout, Text: []byte("2024-01-01 something"), Time: 1}
	group := multiline(b, `^\d{4}-`, true, false)
	for _, bb := range []struct {
		name    string
		rules   Rules
		entries []Entry
	}{
		{"whole lines", Rules{Max: 1 << 20}, []Entry{line}},
		{"pieces", Rules{Max: 1 << 20}, []Entry{piece, piece, piece, line}},
		{"groups", Rules{Max: 1 << 20, Multiline: group}, []Entry{start, line, line, line}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			j := Joiner{Rules: &bb.rules, Emit: func(*Record) {}}
			now := time.Unix(1, 0)
			b.ReportAllocs()
			var at int64
			for b.Loop() {
				for _, e := range bb.entries {
					j.Add(e, at, now)
					at++
				}
			}
		})
	}
}

// A file that several others have left theirs to has more than one text of a stream.
func TestNoTextOfSeveralFilesIsLostAtARestart(t *testing.T) {
	var open []Open
	for _, text := range []string{"o+first", "o+second", "e+other", "o+third"} {
		open = append(open, join(Rules{Max: 100}).add(text).Take()...)
	}
	j := join(Rules{Max: 100})
	from, more := j.Restore(open, 50, j.now)
	require.EqualValues(t, 50, from)
	require.Empty(t, j.records)
	j.TakeOver(more, j.now)
	j.at = 50
	j.add("o= ends", "e= ends")
	require.Equal(t, []string{"out second…", "out third…", "out first ends", "err other ends"}, j.records)
}

func TestOpenTextsOfSeveralFilesAreDecoded(t *testing.T) {
	var open []Open
	for i := range 12 {
		open = append(open, Open{Stream: Stdout, At: elsewhere, Text: []byte{byte('a' + i)}, flags: flagText})
	}
	got, rest, err := DecodeOpen(AppendOpen(nil, open))
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Equal(t, open, got)
}
