//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// sampleEvery is the time between two samples; a control period of the receivers fits in many of them.
const sampleEvery = 200 * time.Millisecond

// forAMoment is how many directories may be open in a sample because they are being listed.
const forAMoment = 2

// budget holds what the collector uses against what it used before it followed anything.
type budget struct {
	t          *testing.T
	base       sample
	containers int    // that are followed beside what the base has
	dir        string // of the files
}

// settled samples until two samples in a row agree.
func settled(t *testing.T, c *collector, socket string) sample {
	t.Helper()
	var last sample
	eventually(t, readyLimit, "settled", func() string {
		before := last
		last = c.sample(socket)
		if before.goroutines == last.goroutines && before.fds == last.fds && before.connections == last.connections {
			return ""
		}
		time.Sleep(sampleEvery)
		return last.difference(before)
	})
	return last
}

// check holds a sample against the budget.
func (b budget) check(when string, s sample) {
	b.t.Helper()
	fired := s.goroutinesByKind["time.goFunc"] // a timer's function runs in a goroutine for a moment
	if most := b.base.goroutines + perContainer*b.containers + fired; s.goroutines > most {
		b.t.Errorf("%s: %d goroutines, at most %d are allowed; more than the base:%s", when, s.goroutines, most, s.difference(b.base))
	}
	if most := b.base.connections + b.containers; s.connections > most {
		b.t.Errorf("%s: %d connections to the engine, at most %d are allowed", when, s.connections, most)
	}
	// A handle per file on the disk at most: rotated files are kept for what is still written to them.
	open, err := os.ReadDir(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	if s.fdsByKind[b.dir] > len(open) {
		b.t.Errorf("%s: %d handles of %d files", when, s.fdsByKind[b.dir], len(open))
	}
	others := s.fds - s.fdsByKind[b.dir]
	if most := b.base.fds - b.base.fdsByKind[b.dir] + b.containers + forAMoment; others > most {
		b.t.Errorf("%s: %d file descriptors beside the files', at most %d are allowed; more than the base:%s",
			when, others, most, s.difference(b.base))
	}
}

// flat takes samples and asks that nothing grows over them.
func (b budget) flat(when string, take func() sample) {
	b.t.Helper()
	var samples []sample
	for range steadySamples {
		s := take()
		b.check(when, s)
		samples = append(samples, s)
		time.Sleep(sampleEvery)
	}
	for what, of := range map[string]func(sample) int{
		"goroutines":  func(s sample) int { return s.goroutines },
		"connections": func(s sample) int { return s.connections },
	} {
		var series []int
		for _, s := range samples {
			series = append(series, of(s))
		}
		b.t.Logf("%s: %s %v", when, what, series)
		// Flat: the later half is no higher than the earlier one. A request that is under way may show in any sample.
		half := len(series) / 2
		if early, late := slices.Max(series[:half]), slices.Max(series[half:]); late > early+1 {
			b.t.Errorf("%s: %s grow: %v%s", when, what, series, samples[len(samples)-1].difference(samples[0]))
		}
	}
	first, last := samples[0], samples[len(samples)-1]
	b.t.Logf("%s: file descriptors %v → %v, resident %d → %d MiB, %v of processor time in all",
		when, first.fdsByKind, last.fdsByKind, first.rss>>20, last.rss>>20, last.cpu)
}

// difference lists what s has more or less of than other.
func (s sample) difference(other sample) string {
	var b strings.Builder
	list := func(now, then map[string]int) {
		all := maps.Clone(now)
		for kind := range then {
			all[kind] += 0
		}
		for _, kind := range slices.Sorted(maps.Keys(all)) {
			if d := now[kind] - then[kind]; d != 0 {
				fmt.Fprintf(&b, "\n%+d %s", d, kind)
			}
		}
	}
	list(s.goroutinesByKind, other.goroutinesByKind)
	list(s.fdsByKind, other.fdsByKind)
	return b.String()
}
