//go:build linux

package e2e

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// heapGrowth is what the heap may seem to grow over a whole soak, as a part of its size: measured values differ by as much.
const heapGrowth = 0.05

// measures are the series of the report. All but the heap are numbers of things, and have to be the same after each round.
var measures = []struct {
	name, unit string
	of         func(observation) float64
}{
	{"goroutines", "", func(v observation) float64 { return float64(total(v.goroutines)) }},
	{"of these tasks of the receivers", "", func(v observation) float64 { return v.sum("tasks", "") }},
	{"file descriptors", "", func(v observation) float64 { return float64(total(v.fds)) }},
	{"of these log files", "", func(v observation) float64 { return float64(v.fds["log files"]) }},
	{"connections, of the collector", "", func(v observation) float64 { return float64(v.ours) }},
	{"connections, as passed on", "", func(v observation) float64 { return float64(v.proxied) }},
	{"connections, of the engine", "", func(v observation) float64 { return float64(v.engines) }},
	{"containers followed", "", func(v observation) float64 { return v.sum("containers_followed", "") }},
	{"files watched", "", func(v observation) float64 { return v.sum("files_watched", "") }},
	{"heap after GC", "MiB", func(v observation) float64 { return mebi(v.heap) }},
	{"resident", "MiB", func(v observation) float64 { return mebi(v.rss) }},
}

// slope is the median of the slopes between all pairs of points (Theil and Sen): a single high value does not tilt it.
func slope(x, y []float64) float64 {
	var slopes []float64
	for i := range x {
		for j := range i {
			slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	slices.Sort(slopes)
	return (slopes[(len(slopes)-1)/2] + slopes[len(slopes)/2]) / 2
}

// settled returns the observations after which the series are judged.
func (s *soak) settled() []observation {
	all := []observation{s.full}
	for _, r := range s.rounds {
		all = append(all, r.after)
	}
	return all
}

// over returns the slope of a measure per hour, and how much that is from the first observation to the last.
func over(all []observation, of func(observation) float64) (perHour, total float64) {
	var x, y []float64
	for _, v := range all {
		x = append(x, v.at.Hours())
		y = append(y, of(v))
	}
	perHour = slope(x, y)
	return perHour, perHour * (x[len(x)-1] - x[0])
}

// warm is after how many rounds each file has been through some churn: until then more is known of files than before.
func (s *soak) warm() int { return s.size.files / (4 * s.size.rotations) }

func heap(v observation) float64 { return float64(v.heap) }

// heapGrowth is how much the heap has grown over the rounds from the first one on after which each file has been through some churn.
func (s *soak) heapGrowth() (bytes float64, judged bool) {
	if len(s.rounds) < s.warm()+4 {
		return 0, false
	}
	_, bytes = over(s.settled()[s.warm():], heap)
	return bytes, true
}

// verdict judges the whole. That each round has come back to the same numbers was asked for after each.
func (s *soak) verdict() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, err := range s.errs {
		s.t.Errorf("observation: %v", err)
	}
	for _, v := range s.series {
		for component, status := range v.unwell {
			if strings.Contains(status, "leaked") {
				s.t.Errorf("after %v %s reports %s", v.at, component, status)
			}
		}
	}
	last := s.rounds[len(s.rounds)-1].after
	for _, name := range []string{"gaps", "records_dropped", "records_truncated"} {
		if n := last.sum(name, ""); n != 0 {
			s.t.Errorf("%s is %v", name, n)
		}
	}
	if growth, judged := s.heapGrowth(); judged && growth > heapGrowth*heap(s.full) {
		s.t.Errorf("the heap grows by %.1f MiB, from %.1f MiB", growth/(1<<20), mebi(s.full.heap))
	}
	for _, key := range []string{"containers_followed", "files_watched", "files_open"} {
		if n := s.emptied.sum(key, ""); n != 0 {
			s.t.Errorf("%s is %v when all is gone", key, n)
		}
	}
}

// report writes the table and the plot into the folder LOGCAPTURE_SOAK_OUT, and the table to the test's log.
func (s *soak) report() {
	s.t.Helper()
	if len(s.rounds) == 0 {
		return
	}
	table := s.table()
	s.t.Log("\n" + table)
	dir := os.Getenv("LOGCAPTURE_SOAK_OUT")
	if dir == "" {
		return
	}
	for name, content := range map[string]string{"soak.md": table, "soak.svg": s.plot()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			s.t.Error(err)
		}
	}
}

func (s *soak) table() string {
	var b strings.Builder
	last := s.rounds[len(s.rounds)-1].after
	result := "passed"
	if s.t.Failed() {
		result = "FAILED"
	}
	fmt.Fprintf(&b, "# Soak\n\nMade by `make soak SOAK=%v`: %d containers (`read_from: %s`), %d files, %d rounds of churn in %.0f minutes, %d lines; %s.\n\n",
		s.size.length, s.size.containers, soakReadFrom(), s.size.files, len(s.rounds), last.at.Minutes(), last.lines, result)
	b.WriteString("![series](soak.svg)\n\nEach round: ")
	fmt.Fprintf(&b, "%d containers restarted (one of them twice at once), %d made and removed; ", s.size.restarts, s.size.visitors)
	fmt.Fprintf(&b, "%d files each rotated by renaming, copied and truncated, truncated, deleted and made anew; ", s.size.rotations)
	b.WriteString("directories swapped twice; engine stopped with SIGSTOP and let go on; event stream cut while a container restarts; " +
		"all connections cut; endpoint refuses; endpoint hangs; engine killed and started. All sources write all the time.\n\n" +
		"Values are taken when a round has settled; *most* is the highest of all observations, churn included. All of them but the " +
		"memory had to be the same after each round; one connection that is idle between two requests, with its two goroutines and its " +
		"file descriptor, may be there or not.\n\n")
	if growth, judged := s.heapGrowth(); judged {
		fmt.Fprintf(&b, "The heap is judged from round %d on, when each file has been through some of the churn: it grew by %.0f KiB from there to the end, "+
			"allowed are 5 %% of its size.\n\n", s.warm(), growth/1024)
	}
	b.WriteString("| | nothing to follow | all followed |")
	for i := range s.rounds {
		fmt.Fprintf(&b, " %d |", i+1)
	}
	b.WriteString(" all gone | most | slope per hour |\n|---|--:|--:|" + strings.Repeat("--:|", len(s.rounds)+3) + "\n")
	row := func(name string, value func(observation) string, end string) {
		fmt.Fprintf(&b, "| %s | %s |", name, value(s.base))
		for _, v := range s.settled() {
			fmt.Fprintf(&b, " %s |", value(v))
		}
		fmt.Fprintf(&b, " %s | %s |\n", value(s.emptied), end)
	}
	minutes := func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Minutes()) }
	row("minute", func(v observation) string { return minutes(v.at) }, " | ")
	for _, m := range measures {
		format := "%.0f"
		name := m.name
		if m.unit != "" {
			format, name = "%.1f", name+", "+m.unit
		}
		most := math.Inf(-1)
		for _, v := range s.series {
			most = max(most, m.of(v))
		}
		perHour, _ := over(s.settled(), m.of)
		row(name, func(v observation) string { return fmt.Sprintf(format, m.of(v)) }, fmt.Sprintf(format+" | %.2f", most, perHour))
	}
	for _, name := range []string{"resumes", "retries", "gaps", "records_dropped", "checkpoint_errors"} {
		row(name+" so far", func(v observation) string { return fmt.Sprintf("%.0f", v.sum(name, "")) }, " | ")
	}
	b.WriteString("\n")
	s.tableOfKinds(&b)
	return b.String()
}

// tableOfKinds says what the goroutines and file descriptors are.
func (s *soak) tableOfKinds(b *strings.Builder) {
	last := s.rounds[len(s.rounds)-1].after
	for what, of := range map[string]func(observation) map[string]int{
		"goroutines, by what starts them": func(v observation) map[string]int { return v.goroutines },
		"file descriptors":                func(v observation) map[string]int { return v.fds },
		"tasks": func(v observation) map[string]int {
			kinds := map[string]int{}
			for key, n := range v.metrics {
				if labels, ok := strings.CutPrefix(key, "tasks"); ok {
					kinds[labels] = int(n)
				}
			}
			return kinds
		},
	} {
		fmt.Fprintf(b, "| %s | nothing to follow | all followed | last round | all gone |\n|---|--:|--:|--:|--:|\n", what)
		all := map[string]bool{}
		for _, v := range []observation{s.base, s.full, last, s.emptied} {
			for kind := range of(v) {
				all[kind] = true
			}
		}
		for _, kind := range sortedKeys(all) {
			fmt.Fprintf(b, "| `%s` | %d | %d | %d | %d |\n", kind, of(s.base)[kind], of(s.full)[kind], of(last)[kind], of(s.emptied)[kind])
		}
		b.WriteString("\n")
	}
}

func sortedKeys(m map[string]bool) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestSlopeIsThatOfMostPoints(t *testing.T) {
	x := []float64{0, 1, 2, 3, 4, 5}
	for want, y := range map[float64][]float64{0: {7, 7, 90, 7, 7, 7}, 2: {1, 3, 5, 7, 9, 40}} {
		if got := slope(x, y); got != want {
			t.Errorf("slope of %v is %v, want %v", y, got, want)
		}
	}
}
