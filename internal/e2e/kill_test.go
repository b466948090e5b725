//go:build linux

package e2e

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// rounds is how often a test ends the collector: few by default, as many as LOGCAPTURE_KILLS says in the long form.
func rounds(t *testing.T, few int) int {
	t.Helper()
	text := os.Getenv("LOGCAPTURE_KILLS")
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("LOGCAPTURE_KILLS is %q, want a number", text)
	}
	return n
}

// moments draws the moments, and prints the seed that LOGCAPTURE_SEED repeats them with.
func moments(t *testing.T) func(most time.Duration) time.Duration {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LOGCAPTURE_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LOGCAPTURE_SEED is %q, want a number", text)
		}
	}
	t.Logf("LOGCAPTURE_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	return func(most time.Duration) time.Duration { return time.Duration(random.Int64N(int64(most))) }
}

// readers is how many batches a capture may have under way at a time: one for each worker and each container's stream.
func (c *capture) readers() int { return min(runtime.GOMAXPROCS(0), 8) + len(c.running) }

// repeats tells the lines that came again by the batch that brought them first, and so by kill.
type repeats struct {
	first map[string]map[int]int // source, number of the line: number of the request
	again map[int]int            // number of the request: how many of its lines came again
	kills []int                  // how many requests there were at each kill
}

// countRepeats is asked for before the first repeat. What it counts belongs to the sink's lock; see [sink.each].
func countRepeats(c *capture) *repeats {
	r := &repeats{first: make(map[string]map[int]int), again: make(map[int]int)}
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	c.sink.forget, c.sink.records = true, nil
	count := c.sink.each
	c.sink.each = func(got record) {
		if source, _, seq, ok := lineOf(got); ok {
			r.add(source, seq, got.request)
		}
		count(got)
	}
	return r
}

func (r *repeats) add(source string, seq, request int) {
	lines := r.first[source]
	if lines == nil {
		lines = make(map[int]int)
		r.first[source] = lines
	}
	if first, again := lines[seq]; again {
		r.again[first]++
		return
	}
	lines[seq] = request
}

func (r *repeats) killed(c *capture) {
	c.sink.mu.Lock()
	defer c.sink.mu.Unlock()
	r.kills = append(r.kills, c.sink.requests)
}

// perKill returns how many lines came again in all, and of how many batches for each kill.
func (r *repeats) perKill() (lines int, batches []int) {
	batches = make([]int, len(r.kills))
	for request, n := range r.again {
		lines += n
		kill, _ := slices.BinarySearch(r.kills, request)
		batches[min(kill, len(batches)-1)]++
	}
	return lines, batches
}

// TestKillAtAnyMomentLosesNothing: SIGKILL at random moments, from the start of the process on. What comes again is no more than
// the batches that were under way: one for each reader.
func TestKillAtAnyMomentLosesNothing(t *testing.T) {
	t.Parallel()
	next := moments(t)
	c := newCapture(t, settings{shipped: "direct.yaml"})
	again := countRepeats(c)
	captured(t, c.lines, 500)
	n := rounds(t, 5)
	for range n {
		time.Sleep(next(2 * time.Second)) // the random moment; nothing is waited for
		c.col.kill()
		again.killed(c)
		c.col.launch()
	}
	c.col.waitReady(readyLimit)
	c.end(t)
	lines, batches := again.perKill()
	total, most := 0, n*c.readers()
	for _, b := range batches {
		total += b
	}
	t.Logf("%d kills: %d lines; %d came again, of %d batches, of at most %d of one kill; %d readers",
		n, c.lines.count(), lines, total, slices.Max(batches), c.readers())
	if total > most {
		t.Errorf("%d batches came again after %d kills, want at most %d: %v", total, n, most, batches)
	}
	c.lines.forgive()
	c.lines.exact(t)
}

// TestStopAtAnyMomentRepeatsNothing: SIGTERM at random moments under load, each line exactly once.
func TestStopAtAnyMomentRepeatsNothing(t *testing.T) {
	t.Parallel()
	next := moments(t)
	c := newCapture(t, settings{shipped: "direct.yaml"})
	c.sink.forgetAll()
	n, longest := rounds(t, 5), time.Duration(0)
	for range n {
		// The collector takes SIGTERM for what it is from the moment on that it is ready.
		captured(t, c.lines, 1)
		time.Sleep(next(1500 * time.Millisecond)) // the random moment; nothing is waited for
		begin := time.Now()
		c.col.signal(syscall.SIGTERM)
		if code := c.col.wait(stopLimit); code != 0 {
			t.Fatalf("the collector ended with code %d after SIGTERM, want 0", code)
		}
		longest = max(longest, time.Since(begin))
		c.col.start()
	}
	c.end(t)
	t.Logf("%d stops: %d lines, the longest stop took %v", n, c.lines.count(), longest)
	c.lines.exact(t)
}
