package dockerstream

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// readWhole returns the lines of a log that is read by one connection.
func readWhole(t *testing.T, rules Rules, log []record) []string {
	t.Helper()
	var g got
	l := newLines(&g, rules, Window{})
	l.Opened(false)
	feed(t, l, log)
	l.Flush()
	return g.lines
}

// requireResume delivers a log up to a record and is then stopped, with what is open there; after a start it reads on. Each line comes once.
func requireResume(t *testing.T, rules Rules, log []record, every, stop int) {
	t.Helper()
	whole := readWhole(t, rules, log)
	for _, engine := range engines {
		var g got
		l := newLines(&g, rules, Window{})
		l.Opened(false)
		for i := 0; i < stop; i += every {
			feed(t, l, log[i:min(i+every, stop)])
			l.Commit()
		}
		l = restore(t, &g, rules, l.Window().AppendBinary(nil))
		feed(t, l, engine.since(log, l.Window()))
		l.Flush()
		for s := range Stream(2) {
			requireEqualLines(t, ofStream(whole, s), ofStream(g.lines, s), engine.name)
		}
	}
}

// What is open is older than lines before it that are not remembered any more.
func TestResumeIsExactWithAnOpenLineWhoseClockWasSetBack(t *testing.T) {
	const back = int64(40 * time.Millisecond)
	starts := func(line []byte) bool { return strings.HasSuffix(string(line), "start") }
	for _, tt := range []struct {
		name, open, rest string
		rules            Rules
	}{
		{"in pieces", strings.Repeat("x", pieceSize), "end\n", Rules{MaxSize: 1 << 20}},
		{"a record of several lines", "a start\n", "more\n", Rules{MaxSize: 1 << 20, Starts: starts}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log []record
			for i := range int64(6000) {
				log = append(log, stdout(base+i*int64(20*time.Microsecond), fmt.Sprintf("%d start\n", i)))
			}
			last := log[len(log)-1].stamp - back
			log = append(log, stdout(last, tt.open))
			stop := len(log)
			log = append(log, stdout(last, tt.rest), stdout(last+int64(time.Millisecond), "next start\n"))
			requireResume(t, tt.rules, log, 100, stop)
		})
	}
}

// An engine that looks only for the first line to send also sends older ones behind that. They are none of those that are waited for.
func TestResumeIsExactWithOlderLinesBehindTheFirst(t *testing.T) {
	var log []record
	at := func(ms int64, lines ...record) {
		for _, line := range lines {
			line.stamp = base + ms*int64(time.Millisecond)
			log = append(log, line)
		}
	}
	at(0, stderr(0, "e start\n"), stdout(0, "a start\n"))
	at(1000, stdout(0, "high start\n"), stderr(0, "high start\n"))
	at(800, stdout(0, "low start\n"), stderr(0, "low start\n"))
	at(801, stdout(0, "low 2 start\n"), stderr(0, "low 2 start\n"))
	at(1050, stderr(0, "b start\n"))
	at(1100, stdout(0, "b start\n"))
	at(1200, stdout(0, "c start\n"), stderr(0, "c start\n"), stderr(0, "d start\n"))
	at(1201, stderr(0, "open start\n"))
	at(1202, stderr(0, "more\n"))
	at(1203, stdout(0, "d start\n"), stdout(0, "e start\n"), stdout(0, "f start\n"), stdout(0, "g start\n"))
	stop := len(log)
	at(1210, stderr(0, "end start\n"), stdout(0, "end start\n"))
	requireResume(t, Rules{MaxSize: 1 << 20, Starts: func(line []byte) bool { return strings.HasSuffix(string(line), "start") }}, log, 1, stop)
}

// Two streams with long lines, whose clock is set back a little now and then, and any form of record; stops at any moment, and tails of any length.
func TestResumeIsExactWhateverComesWhereTheClockIsSetBack(t *testing.T) {
	for name, rules := range map[string]Rules{
		"lines":                      {MaxSize: 1 << 20},
		"lines that are split":       {MaxSize: 10_000},
		"records of several lines":   {MaxSize: 30_000, Starts: grouped.Starts},
		"lines that may come again":  {MaxSize: 1 << 20, DropRepeats: true},
		"split, and may come again":  {MaxSize: 10_000, DropRepeats: true},
		"records, few, and cut soon": {MaxSize: 1_000, Starts: grouped.Starts},
	} {
		t.Run(name, func(t *testing.T) {
			for _, each := range []time.Duration{20 * time.Microsecond, 500 * time.Microsecond} {
				for _, engine := range engines {
					for seed := range seeds() {
						requireAnyResume(t, rand.New(rand.NewPCG(seed, 77)), engine, rules, each)
					}
				}
			}
		})
	}
}

func requireAnyResume(t *testing.T, rnd *rand.Rand, engine engine, rules Rules, each time.Duration) {
	t.Helper()
	log := steppedLog(rnd, each)
	whole := readWhole(t, rules, log)
	acked, _ := readInterrupted(t, rnd, engine, rules, log, 3000, 1+rnd.IntN(300))
	for s := range Stream(2) {
		requireEqualLines(t, ofStream(whole, s), ofStream(acked, s), engine.name)
	}
}

// steppedLog is what two streams log, about a line in that time.
func steppedLog(rnd *rand.Rand, each time.Duration) (log []record) {
	clock, newest := base, base
	var open [2][]record
	for i := range 3000 {
		if clock += int64(rnd.ExpFloat64() * float64(each)); clock >= newest && rnd.IntN(500) == 0 {
			clock -= rnd.Int64N(int64(40 * time.Millisecond))
		}
		newest = max(newest, clock)
		s := Stream(rnd.IntN(2))
		if len(open[s]) == 0 {
			text := fmt.Sprintf("line %d", i)
			if rnd.IntN(50) == 0 {
				text += strings.Repeat("x", rnd.IntN(3*pieceSize))
			}
			open[s] = cut(s, clock, text+"\n")
		}
		n := 1 + rnd.IntN(len(open[s]))
		log = append(log, open[s][:n]...)
		open[s] = open[s][n:]
	}
	return append(append(log, open[0]...), open[1]...)
}
