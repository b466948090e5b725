//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tally checks numbered lines: which are lost, which came twice, which came after a later one. It holds one bit per
// line and is safe for concurrent use.
type tally struct {
	mu      sync.Mutex
	sources map[string]*series
}

// series is the lines of one source, numbered from 1.
type series struct {
	want       int         // 0: not known yet
	got        int         // different numbers
	last       map[int]int // the highest number of each part
	seen       []uint64
	repeated   []int // all numbers that came again
	disordered []int // all numbers that came after a higher one of their part
	mixed      []int // all numbers that came after a higher one of another part
}

func newTally() *tally { return &tally{sources: make(map[string]*series)} }

func (t *tally) of(source string) *series {
	s := t.sources[source]
	if s == nil {
		s = &series{last: make(map[int]int)}
		t.sources[source] = s
	}
	return s
}

func (s *series) highest() int {
	n := 0
	for _, last := range s.last {
		n = max(n, last)
	}
	return n
}

// expect says that the source writes the numbers 1 to n.
func (t *tally) expect(source string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of(source).want = n
}

// add counts a line. Lines are in order within each part of a source: a container has one, a file that rotates has one
// per file that it has been.
func (t *tally) add(source string, part, seq int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of(source)
	for len(s.seen) <= seq/64 {
		s.seen = append(s.seen, 0)
	}
	bit := uint64(1) << (seq % 64)
	switch {
	case s.seen[seq/64]&bit != 0:
		s.repeated = append(s.repeated, seq)
		return // a repetition is one finding, not two
	case seq < s.last[part]:
		s.disordered = append(s.disordered, seq)
	case seq < s.highest():
		s.mixed = append(s.mixed, seq)
	}
	s.seen[seq/64] |= bit
	s.got++
	s.last[part] = max(s.last[part], seq)
}

// count returns the number of different lines of all sources.
func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sources {
		n += s.got
	}
	return n
}

// incomplete says what has not arrived yet, for eventually; empty when all has.
func (t *tally) incomplete() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.sources)) {
		if s := t.sources[name]; s.got < s.want {
			fmt.Fprintf(&b, "\n%s: %d of %d lines, the last is %d", name, s.got, s.want, s.highest())
		}
	}
	return b.String()
}

// mixed says which lines came after a later part of their source had begun; empty when none did.
func (t *tally) mixed() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.sources)) {
		if s := t.sources[name]; len(s.mixed) > 0 {
			fmt.Fprintf(&b, "\n%s: %d of %d: %s", name, len(s.mixed), s.want, ranges(s.mixed))
		}
	}
	return b.String()
}

// repeats returns how many lines came again.
func (t *tally) repeats() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sources {
		n += len(s.repeated)
	}
	return n
}

// lost returns how many of the lines that are expected have not come.
func (t *tally) lost() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sources {
		n += max(0, s.want-s.got)
	}
	return n
}

// forgiveOrder forgets that lines came after later ones, and returns how many did.
func (t *tally) forgiveOrder() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sources {
		n += len(s.disordered)
		s.disordered = nil
	}
	return n
}

// forgive forgets that lines came again, and returns how many did.
func (t *tally) forgive() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, s := range t.sources {
		n += len(s.repeated)
		s.repeated = nil
	}
	return n
}

// findings says what is wrong, a line per source; empty when every line came exactly once and in order.
func (t *tally) findings() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.sources)) {
		s := t.sources[name]
		var lost, foreign []int
		for seq := 1; seq <= s.want; seq++ {
			if seq/64 >= len(s.seen) || s.seen[seq/64]&(1<<(seq%64)) == 0 {
				lost = append(lost, seq)
			}
		}
		for seq := s.want + 1; seq < len(s.seen)*64; seq++ {
			if s.seen[seq/64]&(1<<(seq%64)) != 0 {
				foreign = append(foreign, seq)
			}
		}
		for _, f := range []struct {
			kind string
			seqs []int
		}{{"lost", lost}, {"repeated", s.repeated}, {"out of order", s.disordered}, {"never written", foreign}} {
			if len(f.seqs) > 0 {
				fmt.Fprintf(&b, "\n%s: %d %s of %d: %s", name, len(f.seqs), f.kind, s.want, ranges(f.seqs))
			}
		}
	}
	return b.String()
}

// ranges shortens numbers to 1-3 7 9-12, a few of them.
func ranges(seqs []int) string {
	var parts []string
	for i := 0; i < len(seqs); {
		j := i
		for j+1 < len(seqs) && seqs[j+1] == seqs[j]+1 {
			j++
		}
		if len(parts) == 12 {
			return strings.Join(append(parts, "…"), " ")
		}
		if i == j {
			parts = append(parts, fmt.Sprint(seqs[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", seqs[i], seqs[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, " ")
}

func TestTallyFindsWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		want             int
		seqs             []int
		incomplete, find string
	}{
		"all once":                    {want: 3, seqs: []int{1, 2, 3}},
		"nothing expected, none came": {},
		"lost": {
			want: 5, seqs: []int{1, 4},
			incomplete: "\nx: 2 of 5 lines, the last is 4", find: "\nx: 3 lost of 5: 2-3 5",
		},
		"repeated":      {want: 3, seqs: []int{1, 2, 1, 2, 3, 3}, find: "\nx: 3 repeated of 3: 1-3"},
		"out of order":  {want: 4, seqs: []int{1, 3, 2, 4}, find: "\nx: 1 out of order of 4: 2"},
		"never written": {want: 2, seqs: []int{1, 2, 3, 200}, find: "\nx: 2 never written of 2: 3 200"},
		"at the edges of a word": {
			want: 129, seqs: []int{1, 63, 64, 65, 127, 128},
			incomplete: "\nx: 6 of 129 lines, the last is 128", find: "\nx: 123 lost of 129: 2-62 66-126 129",
		},
		"all at once": {
			want: 4, seqs: []int{3, 1, 1}, incomplete: "\nx: 2 of 4 lines, the last is 3",
			find: "\nx: 2 lost of 4: 2 4\nx: 1 repeated of 4: 1\nx: 1 out of order of 4: 1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTally()
			tl.expect("x", tc.want)
			for _, seq := range tc.seqs {
				tl.add("x", 0, seq)
			}
			if got := tl.incomplete(); got != tc.incomplete {
				t.Errorf("incomplete: got %q, want %q", got, tc.incomplete)
			}
			if got := tl.findings(); got != tc.find {
				t.Errorf("findings: got %q, want %q", got, tc.find)
			}
		})
	}
}

func TestTallyKeepsPartsInOrderEachForItself(t *testing.T) {
	tl := newTally()
	tl.expect("x", 6)
	for _, line := range [][2]int{{0, 1}, {2, 5}, {1, 3}, {2, 6}, {1, 4}, {0, 2}} {
		tl.add("x", line[0], line[1])
	}
	if found := tl.findings(); found != "" {
		t.Errorf("got %q", found)
	}
	if got, want := tl.mixed(), "\nx: 3 of 6: 3-4 2"; got != want {
		t.Errorf("mixed: got %q, want %q", got, want)
	}
	tl.add("x", 1, 2)
	tl.add("x", 2, 7)
	tl.add("y", 1, 2)
	tl.add("y", 1, 1)
	if got, want := tl.findings(), "\nx: 1 repeated of 6: 2\nx: 1 never written of 6: 7\ny: 1 out of order of 0: 1\ny: 2 never written of 0: 1-2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkTally(b *testing.B) {
	tl := newTally()
	names := []string{"one/stdout", "one/stderr", "two/stdout"}
	for i := range b.N {
		tl.add(names[i%3], 0, i/3+1)
	}
}
