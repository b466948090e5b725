package dockerstream

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const base = int64(1_800_000_000_000_000_000)

// got collects what Lines emits.
type got struct {
	lines []string
	gaps  []string
}

func (g *got) emit(line Line) {
	text := fmt.Sprintf("%d %d %s", line.Stream.side(), line.Stamp, line.Text)
	if line.Truncated {
		text += "…"
	}
	g.lines = append(g.lines, text)
}

func (g *got) gap(from, to int64) { g.gaps = append(g.gaps, fmt.Sprintf("%d-%d", from-base, to-base)) }

func newLines(g *got, rules Rules, w Window) *Lines {
	l := NewLines(rules, w)
	l.Emit, l.Gap = g.emit, g.gap
	return l
}

// feed gives the records to l as a stream that has just been opened.
func feed(t testing.TB, l *Lines, records []record) {
	var data []byte
	if len(records) > 0 && records[0].stream == Terminal {
		data = bare(records...)
	} else {
		data = frames(records...)
	}
	d := NewDecoder(bytes.NewReader(data))
	for {
		p, err := d.Next()
		if err != nil {
			return
		}
		if err := l.Add(p); err != nil {
			t.Fatal(err)
		}
	}
}

// restore goes on at a stored window, as a new process does.
func restore(t testing.TB, g *got, rules Rules, stored []byte) *Lines {
	t.Helper()
	var w Window
	if stored != nil {
		var err error
		w, err = ParseWindow(stored)
		require.NoError(t, err)
	}
	l := newLines(g, rules, w)
	l.Opened(false)
	return l
}

func line(stream Stream, at int64, text string) string {
	return fmt.Sprintf("%d %d %s", stream.side(), base+at, text)
}

func TestPiecesBecomeLines(t *testing.T) {
	x, y := strings.Repeat("x", pieceSize), strings.Repeat("y", pieceSize)
	for name, tt := range map[string]struct {
		rules   Rules
		records []record
		want    []string
		flushed []string
	}{
		"lines":                                {records: []record{stdout(base, "a\n"), stderr(base+1, "\n"), stdout(base+2, " b\r\n")}, want: []string{line(0, 0, "a"), line(1, 1, ""), line(0, 2, " b\r")}},
		"cut line":                             {records: cut(0, base, x+y+"z\n"), want: []string{line(0, 0, x+y+"z")}},
		"exactly a piece":                      {records: append(cut(0, base, x), stdout(base, "\n")), want: []string{line(0, 0, x)}},
		"other stream amid":                    {records: []record{stdout(base, x), stderr(base+1, "e\n"), stdout(base, "z\n")}, want: []string{line(1, 1, "e"), line(0, 0, x+"z")}},
		"both cut":                             {records: []record{stdout(base, x), stderr(base+1, y), stdout(base, "z\n"), stderr(base+1, "w\n")}, want: []string{line(0, 0, x+"z"), line(1, 1, y+"w")}},
		"run ended in line":                    {records: []record{stdout(base, "open"), stdout(base+1, "next\n")}, want: []string{line(0, 0, "open"), line(0, 1, "next")}},
		"run ended at cut":                     {records: []record{stdout(base, x), stdout(base+1, "next\n")}, want: []string{line(0, 0, x), line(0, 1, "next")}},
		"end of the log":                       {records: []record{stdout(base, x)}, flushed: []string{line(0, 0, x)}},
		"local, long line":                     {records: []record{stdout(base, x), stdout(base, "z")}, want: []string{line(0, 0, x+"z")}},
		"local, whole piece":                   {records: []record{stdout(base, x), stdout(base, "")}, want: []string{line(0, 0, x)}},
		"journald":                             {rules: Rules{Join: JoinSize}, records: []record{stdout(base, x), stdout(base+7, "z\n")}, want: []string{line(0, 0, x+"z")}},
		"journald, ended":                      {rules: Rules{Join: JoinSize}, records: []record{stdout(base, "open"), stdout(base+7, "z\n")}, want: []string{line(0, 0, "open"), line(0, 7, "z")}},
		"podman":                               {rules: Rules{Join: JoinOpen}, records: []record{stdout(base, "op"), stderr(base, "e\n"), stdout(base+7, "en\n")}, want: []string{line(1, 0, "e"), line(0, 0, "open")}},
		"terminal":                             {records: []record{terminal(base, "a\r\n"), terminal(base+1, x), terminal(base+1, "z\r\n")}, want: []string{line(0, 0, "a"), line(0, 1, x+"z")}},
		"terminal, return in the piece before": {records: []record{terminal(base, x[1:]+"\r"), terminal(base, "\n")}, want: []string{line(0, 0, x[1:])}},
		"terminal, prompt":                     {records: []record{terminal(base, "prompt> ")}, flushed: []string{line(0, 0, "prompt> ")}},
		"split":                                {rules: Rules{MaxSize: 4}, records: []record{stdout(base, "abcd\n"), stdout(base+1, "abcdefghi\n")}, want: []string{line(0, 0, "abcd"), line(0, 1, "abcd…"), line(0, 1, "efgh…"), line(0, 1, "i…")}},
		"split, no rune":                       {rules: Rules{MaxSize: 4}, records: []record{stdout(base, "abcé!\n")}, want: []string{line(0, 0, "abc…"), line(0, 0, "é!…")}},
		"cut off":                              {rules: Rules{MaxSize: 4, DropRest: true}, records: []record{stdout(base, "abcdefghi\n"), stdout(base+1, "ok\n")}, want: []string{line(0, 0, "abcd…"), line(0, 1, "ok")}},
		"cut off, pieces":                      {rules: Rules{MaxSize: 4, DropRest: true}, records: append(cut(0, base, x+y+"z\n"), stdout(base+1, "ok\n")), want: []string{line(0, 0, "xxxx…"), line(0, 1, "ok")}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.rules.MaxSize == 0 {
				tt.rules.MaxSize = 1 << 20
			}
			var g got
			l := newLines(&g, tt.rules, Window{})
			l.Opened(false)
			feed(t, l, tt.records)
			require.Equal(t, tt.want, g.lines)
			l.Flush()
			require.Equal(t, append(tt.want, tt.flushed...), g.lines)
		})
	}
}

// engine imitates how an engine answers since.
type engine struct {
	name      string
	filterAll bool // 20.10 looks at each record, 28 skips up to the first
	exclusive bool // Podman
}

var engines = []engine{{name: "28"}, {name: "20.10", filterAll: true}, {name: "Podman", exclusive: true, filterAll: true}}

func (e engine) since(log []record, w *Window) []record {
	since, ok := w.Since()
	if !ok {
		return log
	}
	if e.exclusive {
		since-- // as the receiver asks
	}
	var answer []record
	for i, r := range log {
		if r.stamp > since || (r.stamp == since && !e.exclusive) {
			if !e.filterAll {
				return log[i:]
			}
			answer = append(answer, r)
		}
	}
	return answer
}

// randomLog makes a log of two streams whose stamps invert by up to 20 ms, with lines that are cut, and what has to come out.
func randomLog(rnd *rand.Rand, rules Rules) (log []record, want map[Stream][]string) {
	want = make(map[Stream][]string)
	clock := base
	var open [2][]record
	var stamps [2]int64
	for i := range 400 {
		clock += int64(rnd.ExpFloat64() * float64(2*time.Millisecond))
		if rnd.IntN(40) == 0 {
			clock += int64(300 * time.Millisecond)
		}
		s := Stream(rnd.IntN(2))
		if len(open[s]) == 0 {
			text := fmt.Sprintf("line %d", i)
			if rnd.IntN(10) == 0 {
				text = strings.Repeat("same", pieceSize/4) + strings.Repeat("x", rnd.IntN(3*pieceSize))
			}
			stamp := clock
			if s == Stderr {
				stamp -= rnd.Int64N(int64(20 * time.Millisecond))
				stamp = max(stamp, stamps[s])
			}
			open[s] = cut(s, stamp, text+"\n")
			stamps[s] = stamp
		}
		n := 1 + rnd.IntN(len(open[s]))
		log = append(log, open[s][:n]...)
		open[s] = open[s][n:]
	}
	for _, rest := range open {
		log = append(log, rest...)
	}
	var g got
	l := newLines(&g, rules, Window{})
	l.Opened(false)
	feed(nil, l, log)
	l.Flush()
	for s := range Stream(2) {
		want[s] = ofStream(g.lines, s)
	}
	return log, want
}

// TestResumeIsExactWhereverItIsCut reads logs with random interruptions. What was not committed is lost with the interruption, as in a
// process that is killed. LOGCAPTURE_LONG=1 tries many more of them.
func TestResumeIsExactWhereverItIsCut(t *testing.T) {
	for _, engine := range engines {
		for _, rules := range []Rules{{MaxSize: 1 << 20}, {MaxSize: 10_000}, {MaxSize: 20_000, DropRest: true}, {MaxSize: 100}, grouped} {
			for seed := range 3 * seeds() {
				rnd := rand.New(rand.NewPCG(seed, 1))
				log, want := randomLog(rnd, rules)
				acked, told := readInterrupted(t, rnd, engine, rules, log, 200, 10)
				require.True(t, told, "no piece was said to be a repetition")
				for s, lines := range want {
					require.Equal(t, lines, ofStream(acked, s), "%s, %+v, seed %d", engine.name, rules, seed)
				}
			}
		}
	}
}

// receivedLog makes a log of two streams as journald has it: each piece has the stamp of its receipt, in microseconds, and the stamps only rise.
// Long lines are written at once, or little by little.
func receivedLog(rnd *rand.Rand, each time.Duration) (log []record) {
	clock := base
	var open [2][]record
	var pause [2]time.Duration
	for i := range 800 {
		s := Stream(rnd.IntN(2))
		clock += int64((time.Duration(rnd.ExpFloat64()*float64(each)) + pause[s]).Truncate(time.Microsecond))
		if len(open[s]) == 0 {
			text := fmt.Sprintf("line %d", i)
			if pause[s] = 0; rnd.IntN(3) == 0 {
				text += strings.Repeat("x", rnd.IntN(5*pieceSize))
				if rnd.IntN(10) == 0 {
					pause[s] = time.Duration(rnd.Int64N(int64(700 * time.Millisecond)))
				}
			}
			open[s] = cut(s, 0, text+"\n")
		}
		for n := 1 + rnd.IntN(len(open[s])); n > 0; n-- {
			next := open[s][0]
			next.stamp, open[s] = clock, open[s][1:]
			log = append(log, next)
			clock += rnd.Int64N(100) * int64(time.Microsecond)
		}
	}
	for _, rest := range open {
		for _, next := range rest {
			next.stamp = clock
			log = append(log, next)
		}
	}
	return log
}

// A position can lie between the pieces of a line that was delivered.
func TestResumeIsExactWherePiecesHaveStampsOfTheirOwn(t *testing.T) {
	for name, rules := range map[string]Rules{
		"lines":                    {Join: JoinSize, MaxSize: 1 << 20},
		"lines that are split":     {Join: JoinSize, MaxSize: 10_000},
		"lines that are cut off":   {Join: JoinSize, MaxSize: 20_000, DropRest: true},
		"records of several lines": {Join: JoinSize, MaxSize: 30_000, Starts: grouped.Starts, FlushAfter: grouped.FlushAfter},
		"whatever the size":        {Join: JoinOpen, MaxSize: 1 << 20},
	} {
		for _, each := range []time.Duration{50 * time.Microsecond, 2 * time.Millisecond} {
			for _, engine := range engines {
				for seed := range seeds() {
					rnd := rand.New(rand.NewPCG(seed, 19))
					log := receivedLog(rnd, each)
					whole := readWhole(t, rules, log)
					acked, _ := readInterrupted(t, rnd, engine, rules, log, 500, 1+rnd.IntN(30))
					for s := range Stream(2) {
						requireEqualLines(t, ofStream(whole, s), ofStream(acked, s), fmt.Sprintf("%s, %s, %s, seed %d", name, each, engine.name, seed))
					}
				}
			}
		}
	}
}

// A line whose pieces are far apart is delivered before one start, and the position moves on to the time between them after it.
func TestResumeIsExactBetweenPiecesThatCameAgain(t *testing.T) {
	at := func(ms int64) int64 { return base + ms*int64(time.Millisecond) }
	log := []record{stdout(at(0), strings.Repeat("x", pieceSize)), stdout(at(200), "end\n"), stderr(at(300), "next\n"), stdout(at(310), "next\n"), stdout(at(320), "last\n")}
	rules := Rules{Join: JoinSize, MaxSize: 1 << 20}
	var g got
	var stored []byte
	for n := 2; n <= len(log); n++ {
		l := restore(t, &g, rules, stored)
		feed(t, l, engines[0].since(log[:n], l.Window()))
		l.Commit()
		stored = l.Window().AppendBinary(nil)
	}
	require.Equal(t, readWhole(t, rules, log), g.lines)
}

// laggingLog makes a log in which now and then one stream is stored later than its stamps say, by up to most: the engine stamps a line, and
// is not given the machine before it has stored it. Within a stream the stamps only rise.
func laggingLog(rnd *rand.Rand, lines int, each, most time.Duration) (log []record) {
	type stored struct {
		record
		at int64
	}
	var all []stored
	var clock, until [2]int64
	for i := range lines {
		s := Stream(rnd.IntN(2))
		stamp := base + int64(i)*int64(each)
		at := stamp
		if rnd.IntN(lines/10) == 0 {
			until[s] = stamp + rnd.Int64N(int64(most))
		}
		at = max(at, until[s], clock[s])
		clock[s] = at
		all = append(all, stored{record{s, stamp, fmt.Sprintf("line %d\n", i)}, at})
	}
	slices.SortStableFunc(all, func(a, b stored) int { return cmp.Compare(a.at, b.at) })
	for _, r := range all {
		log = append(log, r.record)
	}
	return log
}

// The stream is opened again just before a line is stored whose stamp is older than what was delivered of the other stream.
func TestLineThatIsStoredLateIsNotPassedOver(t *testing.T) {
	for name, tt := range map[string]struct{ each, late time.Duration }{
		"many lines in the meantime": {80 * time.Microsecond, 120 * time.Millisecond},
		"few lines, much later":      {10 * time.Millisecond, 900 * time.Millisecond},
	} {
		for _, engine := range engines {
			for _, before := range []bool{false, true} { // the stream has had a line before
				var log []record
				if before {
					log = append(log, stderr(base, "first\n"))
				}
				for i := range int64(3000) {
					log = append(log, stdout(base+i*int64(tt.each), fmt.Sprintf("%d\n", i)))
				}
				var g got
				l := newLines(&g, Rules{MaxSize: 100}, Window{})
				l.Opened(false)
				feed(t, l, log)
				l.Commit()
				stored := l.Window().AppendBinary(nil)
				late := stderr(log[len(log)-1].stamp-int64(tt.late), "late\n")
				log = append(log, late)
				g.lines = nil
				l = restore(t, &g, Rules{MaxSize: 100}, stored)
				feed(t, l, engine.since(log, l.Window()))
				require.Equal(t, []string{line(Stderr, late.stamp-base, "late")}, g.lines, "%s, %s, %t", name, engine.name, before)
			}
		}
	}
}

// A loaded engine stores the lines of one stream much later than those of the other, at a rate at which not many of them are remembered.
func TestResumeIsExactWhereAStreamLagsBehindTheOther(t *testing.T) {
	for name, each := range map[string]time.Duration{"slow": 20 * time.Millisecond, "fast": 80 * time.Microsecond} {
		for _, engine := range engines {
			for _, rules := range []Rules{{MaxSize: 1 << 20}, {MaxSize: 1 << 20, Starts: grouped.Starts}} {
				for seed := range seeds() {
					rnd := rand.New(rand.NewPCG(seed, 7))
					log := laggingLog(rnd, 6000, each, 900*time.Millisecond)
					acked, told := readInterrupted(t, rnd, engine, rules, log, 200, 10)
					require.True(t, told, "no piece was said to be a repetition")
					whole := readWhole(t, rules, log)
					for s := range Stream(2) {
						want, got := ofStream(whole, s), ofStream(acked, s)
						requireEqualLines(t, want, got, fmt.Sprintf("%s, %s, groups %t, seed %d", name, engine.name, rules.Starts != nil, seed))
					}
				}
			}
		}
	}
}

// Many lines fall into the time that is remembered, and now and then the clock is set back within it.
func TestResumeIsExactWhereTheClockIsSetBackAmongManyLines(t *testing.T) {
	const each, most = 20 * time.Microsecond, 40 * time.Millisecond
	for _, engine := range engines {
		for _, streams := range []int{1, 2} {
			for seed := range seeds() {
				rnd := rand.New(rand.NewPCG(seed, 11))
				var log []record
				want := map[Stream][]string{}
				clock, newest := base, base
				for i := range 6000 {
					if clock += int64(each); clock >= newest && rnd.IntN(1000) == 0 {
						clock -= rnd.Int64N(int64(most))
					}
					newest = max(newest, clock)
					s := Stream(rnd.IntN(streams))
					log = append(log, record{s, clock, fmt.Sprintf("line %d\n", i)})
					want[s] = append(want[s], line(s, clock-base, fmt.Sprintf("line %d", i)))
				}
				var stored []byte
				var acked []string
				for rounds := 0; len(acked) < len(log) && rounds < 200; rounds++ {
					var g got
					l := restore(t, &g, Rules{MaxSize: 100}, stored)
					stop := 1 + rnd.IntN(1500)
					for _, r := range engine.since(log, l.Window()) {
						if err := l.Add(Piece{Stream: r.stream, Stamp: r.stamp, Text: []byte(strings.TrimSuffix(r.text, "\n"))}); err != nil {
							t.Fatal(err)
						}
						if rnd.IntN(300) == 0 || len(g.lines)+len(acked) == len(log) {
							l.Commit()
							stored = l.Window().AppendBinary(nil)
							stop -= len(g.lines)
							acked, g.lines = append(acked, g.lines...), nil
						}
						if len(g.lines) >= stop {
							break
						}
					}
					require.Empty(t, g.gaps)
				}
				for s, lines := range want {
					requireEqualLines(t, lines, ofStream(acked, s), fmt.Sprintf("%s, %d streams, seed %d", engine.name, streams, seed))
				}
			}
		}
	}
}

// requireEqualLines says little where much differs.
func requireEqualLines(t *testing.T, want, got []string, what string) {
	t.Helper()
	n := 0
	for n < min(len(want), len(got)) && want[n] == got[n] {
		n++
	}
	if n < len(want) || n < len(got) {
		t.Fatalf("%s: line %d of %d (got %d) is %.60q, want %.60q", what, n, len(want), len(got), got[min(n, len(got)-1)], want[min(n, len(want)-1)])
	}
}

// seeds is how many random logs are tried of each kind.
func seeds() uint64 {
	if os.Getenv("LOGCAPTURE_LONG") != "" {
		return 20
	}
	return 2
}

// grouped makes records of three lines or so.
var grouped = Rules{MaxSize: 30_000, FlushAfter: int64(200 * time.Millisecond), Starts: func(text []byte) bool {
	return bytes.HasSuffix(text, []byte("3")) || bytes.HasSuffix(text, []byte("7"))
}}

// readInterrupted reads a log to its end, in connections that end after fewer records than most, or none. One record in so many is followed by a
// delivery. It returns the lines, and whether one was said to be a repetition.
func readInterrupted(t *testing.T, rnd *rand.Rand, engine engine, rules Rules, log []record, most, many int) (acked []string, told bool) {
	t.Helper()
	var stored []byte
	short := false
	for {
		var g got
		l := restore(t, &g, rules, stored)
		tail := log
		if rnd.IntN(2) > 0 && !short {
			tail = log[len(log)-1-rnd.IntN(len(log)):]
		}
		l.Opened(len(tail) < len(log))
		answer := engine.since(tail, l.Window())
		stop := len(answer)
		if rnd.IntN(20) > 0 {
			stop = min(stop, rnd.IntN(most))
		}
		for _, r := range answer[:stop] {
			body, ended := strings.CutSuffix(r.text, "\n")
			piece, before := Piece{Stream: r.stream, Stamp: r.stamp, Open: !ended, Text: []byte(body)}, len(g.lines)
			repeats := l.Repeats(piece)
			err := l.Add(piece)
			if short = errors.Is(err, ErrTailShort); short {
				break
			}
			require.NoError(t, err)
			require.False(t, repeats && len(g.lines) > before, "something comes of a piece that is said to be a repetition")
			told = told || repeats
			if rnd.IntN(many) == 0 {
				l.Commit()
				stored = l.Window().AppendBinary(nil)
				acked = append(acked, g.lines...)
				g.lines = nil
			}
		}
		require.Empty(t, g.gaps)
		if stop == len(answer) && !short {
			l.Flush()
			return append(acked, g.lines...), told
		}
	}
}

func ofStream(lines []string, s Stream) (found []string) {
	for _, text := range lines {
		if strings.HasPrefix(text, fmt.Sprintf("%d ", s)) {
			found = append(found, text)
		}
	}
	return found
}

func TestGapIsTold(t *testing.T) {
	var log []record
	for i := range int64(1000) {
		log = append(log, stdout(base+i*int64(time.Millisecond), fmt.Sprintf("%d\n", i)))
	}
	var g got
	l := newLines(&g, Rules{MaxSize: 100}, Window{})
	l.Opened(false)
	feed(t, l, log[:500])
	l.Commit()
	stored := l.Window().AppendBinary(nil)

	for name, tt := range map[string]struct {
		from int
		gaps []string
	}{
		"all there":         {0, nil},
		"last one there":    {499, nil},
		"last one gone":     {500, []string{"499000000-500000000"}},
		"much gone":         {800, []string{"499000000-800000000"}},
		"all gone, no more": {1000, nil},
	} {
		var g got
		l := restore(t, &g, Rules{MaxSize: 100}, stored)
		feed(t, l, engines[0].since(log[tt.from:], l.Window()))
		require.Equal(t, tt.gaps, g.gaps, name)
		require.Len(t, g.lines, 1000-max(500, tt.from), name)
	}
}

func TestBoundedTailIsAcceptedOnlyFromThePositionOn(t *testing.T) {
	long := strings.Repeat("x", pieceSize)
	log := []record{stdout(base, "a\n"), stderr(base+1, "b\n"), stdout(base+2, "c\n"), stdout(base+3, long), stderr(base+4, "e\n"), stdout(base+3, "end\n")}
	for _, tt := range []struct {
		committed, from int
		short           bool
	}{
		{1, 0, false}, {1, 1, true}, {3, 0, false}, {3, 1, true}, {3, 2, true}, {5, 0, false}, {5, 5, true},
	} {
		var g got
		l := newLines(&g, Rules{MaxSize: 1 << 20}, Window{})
		l.Opened(false)
		feed(t, l, log[:tt.committed])
		l.Commit()
		l.Opened(true)
		first := log[tt.from]
		body, ended := strings.CutSuffix(first.text, "\n")
		err := l.Add(Piece{Stream: first.stream, Stamp: first.stamp, Open: !ended, Text: []byte(body)})
		require.Equal(t, tt.short, err != nil, "%+v", tt)
	}
	// Where nothing was delivered and only the time is known, anything older shows that the tail reaches back far enough.
	for stamp, short := range map[int64]bool{base - 1: false, base: true} {
		l := newLines(&got{}, Rules{MaxSize: 100}, From(base))
		l.Opened(true)
		require.Equal(t, short, l.Add(Piece{Stamp: stamp}) != nil)
	}
}

// The tail begins with lines that were delivered, but behind the first piece of a line that was not: its end must not be taken for all of it.
func TestBoundedTailThatMissesAnOpenLineIsShort(t *testing.T) {
	long := strings.Repeat("x", pieceSize)
	log := []record{stdout(base, "a\n"), stderr(base+1, long)}
	for i := range int64(3000) {
		log = append(log, stdout(base+i*int64(time.Millisecond), fmt.Sprintf("%d\n", i)))
	}
	var g got
	l := newLines(&g, Rules{MaxSize: 1 << 20}, Window{})
	l.Opened(false)
	feed(t, l, log)
	l.Commit()
	newest := log[len(log)-1].stamp
	for name, next := range map[string]record{
		"its end": stderr(base+1, "end\n"), "another line of its stream": stderr(newest+5, "b\n"), "much later": stdout(newest+lag+5, "b\n"),
	} {
		l := restore(t, &g, l.Rules, l.Window().AppendBinary(nil))
		l.Opened(true)
		feed(t, l, log[2000:])
		body, _ := strings.CutSuffix(next.text, "\n")
		require.ErrorIs(t, l.Add(Piece{Stream: next.stream, Stamp: next.stamp, Text: []byte(body)}), ErrTailShort, name)
	}
}

func TestRepeatsOfOldEnginesAreDroppedOnce(t *testing.T) {
	long := strings.Repeat("x", pieceSize)
	records := []record{stdout(base, "a\n"), stdout(base, "a\n"), stdout(base+1, "a\n"), stderr(base+2, "b\n"), stdout(base+1, "a\n"), stderr(base+2, "b\n"),
		stdout(base+3, long), stdout(base+3, long), stdout(base+3, "\n"), stdout(base+4, "c\n")}
	var g got
	l := newLines(&g, Rules{MaxSize: 1 << 20, DropRepeats: true}, Window{})
	l.Opened(false)
	feed(t, l, records)
	require.Equal(t, []string{line(0, 0, "a"), line(0, 1, "a"), line(1, 2, "b"), line(0, 3, long+long), line(0, 4, "c")}, g.lines)
}

// A loaded engine notices a rotation late, and repeats all that it has read of the new file, with lines that are long out of the window.
func TestLongRepeatsOfOldEnginesAreDropped(t *testing.T) {
	for _, rotated := range []int{0, 10, 2500, 5000} { // when the file began that comes again
		var records []record
		var want []string
		for i := range int64(6000) {
			text := fmt.Sprintf("%d", i)
			at := base + i*int64(time.Millisecond)
			records, want = append(records, stdout(at, text+"\n")), append(want, line(0, at-base, text))
			if i == 5000 {
				records = append(records, records[rotated:]...)
			}
		}
		var g got
		l := newLines(&g, Rules{MaxSize: 100, DropRepeats: true}, Window{})
		l.Opened(false)
		for i := range records {
			feed(t, l, records[i:i+1])
			l.Commit()
		}
		require.Equal(t, want, g.lines)
		require.Empty(t, g.gaps)
	}
}

// Docker 20.10 repeats a record when its log rotates, also one that is the last piece of a long line; and a log that has rotated can begin
// in the middle of such a line.
func TestPartsOfDeliveredLinesAreDropped(t *testing.T) {
	x := strings.Repeat("x", pieceSize)
	first, end, next := record{Stdout, base, x}, record{Stdout, base, "end\n"}, record{Stdout, base + 10, "next\n"}
	want := []string{line(Stdout, 0, x+"end"), line(Stdout, 10, "next")}
	g := &got{}
	l := newLines(g, Rules{MaxSize: 1 << 20}, Window{})
	l.Opened(false)
	feed(t, l, []record{first, end, end, next})
	require.Equal(t, want, g.lines)
	l.Commit()

	stored := l.Window().AppendBinary(nil)
	l = restore(t, g, Rules{MaxSize: 1 << 20}, stored)
	feed(t, l, []record{end, next, {Stdout, base + 20, "new\n"}})
	require.Equal(t, append(want, line(Stdout, 20, "new")), g.lines)
	require.Empty(t, g.gaps)
}

func TestClockSetBackLosesNothing(t *testing.T) {
	for _, engine := range engines {
		log := []record{}
		for i := range int64(100) {
			log = append(log, stdout(base+i*int64(time.Second), fmt.Sprintf("before %d\n", i)))
		}
		var g got
		l := newLines(&g, Rules{MaxSize: 100}, Window{})
		l.Opened(false)
		feed(t, l, log)
		l.Commit()
		for i := range int64(20) {
			log = append(log, stdout(base+(50+i)*int64(time.Second)+5, fmt.Sprintf("after %d\n", i)))
			l = restore(t, &g, l.Rules, l.Window().AppendBinary(nil))
			if i == 0 { // the stream is open while the clock is set
				l = newLines(&g, l.Rules, *l.Window())
				feed(t, l, log[len(log)-1:])
			} else {
				feed(t, l, engine.since(log, l.Window()))
			}
			l.Commit()
		}
		for _, r := range log {
			require.Contains(t, g.lines, fmt.Sprintf("0 %d %s", r.stamp, strings.TrimSuffix(r.text, "\n")), engine.name)
		}
	}
}

// The clock is set back by more than is asked for again of a stream that has many lines.
func TestClockSetBackAmongManyLinesLosesNothing(t *testing.T) {
	const each = int64(20 * time.Microsecond)
	for _, engine := range engines {
		var log []record
		for i := range int64(8000) {
			at := base + i*each
			if i >= 4000 {
				at -= int64(100 * time.Millisecond)
			}
			log = append(log, record{Stream(i % 2), at, fmt.Sprintf("%d\n", i)}) //nolint:gosec // 0 or 1
		}
		var g got
		l := newLines(&g, Rules{MaxSize: 100}, Window{})
		l.Opened(false)
		for _, part := range [][]record{log[:4000], log[4000:4010]} {
			feed(t, l, part)
			l.Commit()
		}
		l = restore(t, &g, l.Rules, l.Window().AppendBinary(nil))
		feed(t, l, engine.since(log, l.Window()))
		came := make(map[string]bool)
		for _, line := range g.lines {
			came[line] = true
		}
		for _, r := range log {
			require.True(t, came[fmt.Sprintf("%d %d %s", r.stream, r.stamp, strings.TrimSuffix(r.text, "\n"))], "%s: %s", engine.name, r.text)
		}
	}
}

func TestWindowIsBounded(t *testing.T) {
	for _, apart := range []time.Duration{100 * time.Microsecond, 2 * time.Microsecond} {
		var g got
		l := newLines(&g, Rules{MaxSize: 1 << 20}, Window{})
		l.Opened(false)
		clock := base
		long := strings.Repeat("x", pieceSize)
		feed(t, l, []record{stdout(base, long)}) // stays open all the time
		for range 200 {
			var batch []record
			for range 100 {
				clock += int64(apart)
				batch = append(batch, stderr(clock, "line\n"))
			}
			feed(t, l, batch)
			l.Commit()
			require.LessOrEqual(t, l.Window().Lines(), maxHashes+100)
		}
		since, _ := l.Window().Since()
		require.LessOrEqual(t, since, base)
		require.Greater(t, since, base-lag)
		require.Less(t, len(l.Window().AppendBinary(nil)), 16<<10)
	}
}

func TestWindowIsBoundedWhateverTheClockDoes(t *testing.T) {
	var g got
	l := newLines(&g, Rules{MaxSize: 1 << 20}, Window{})
	l.Opened(false)
	for i := range 60 {
		var batch []record
		for j := range int64(1000) {
			batch = append(batch, stdout(base-int64(i)*int64(time.Minute)+j*1000, "line\n"))
		}
		feed(t, l, batch)
		l.Commit()
	}
	require.Len(t, g.lines, 60_000)
	require.LessOrEqual(t, l.Window().Lines(), mostHashes)
}

func FuzzParseWindow(f *testing.F) {
	l := NewLines(Rules{MaxSize: 3}, Window{})
	l.Emit, l.Gap = func(Line) {}, func(int64, int64) {}
	l.Opened(false)
	feed(f, l, []record{stdout(base, "a\n"), stderr(base-1, "long one\n"), stdout(base+5, strings.Repeat("x", pieceSize))})
	l.Commit()
	f.Add(l.Window().AppendBinary(nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ParseWindow(data)
		if err != nil {
			return
		}
		again, err := ParseWindow(w.AppendBinary(nil))
		require.NoError(t, err)
		require.Equal(t, w, again)
		l := NewLines(Rules{MaxSize: 10}, w)
		l.Emit, l.Gap = func(Line) {}, func(int64, int64) {}
		l.Opened(false)
		feed(t, l, []record{stdout(base, "a\n"), stderr(base, "b\n")})
		l.Commit()
	})
}

func BenchmarkLines(b *testing.B) {
	var records []record
	for i := range 1000 {
		records = append(records, stdout(base+int64(i)*1e6, strings.Repeat("x", 100)+"\n"))
	}
	data := frames(records...)
	bytesOut := 0
	r := bytes.NewReader(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(data)
		d := NewDecoder(r)
		l := NewLines(Rules{MaxSize: 1 << 20}, Window{})
		l.Emit, l.Gap = func(line Line) { bytesOut += len(line.Text) }, func(int64, int64) {}
		for {
			p, err := d.Next()
			if err != nil {
				break
			}
			_ = l.Add(p)
		}
		l.Commit()
	}
}
