//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// readFrom sets how the next process reads containers.
func (c *collector) readFrom(mode string) { c.env = append(c.env, "LOGCAPTURE_READ_FROM="+mode) }

// TestKillBetweenModesLosesNothing: SIGKILL at random moments, and after each the other mode. What comes again is no more than the
// batches that were under way.
func TestKillBetweenModesLosesNothing(t *testing.T) {
	next := moments(t)
	c := newCapture(t, settings{shipped: "direct.yaml"})
	again := countRepeats(c)
	captured(t, c.lines, 500)
	n := rounds(t, 6)
	for i := range n {
		time.Sleep(next(2 * time.Second)) // the random moment; nothing is waited for
		c.col.kill()
		again.killed(c)
		c.col.readFrom([]string{"api", "files"}[i%2])
		c.col.launch()
	}
	c.col.waitReady(readyLimit)
	c.end(t)
	lines, batches := again.perKill()
	total := 0
	for _, b := range batches {
		total += b
	}
	t.Logf("%d kills: %d lines; %d came again, of %d batches; %d readers", n, c.lines.count(), lines, total, c.readers())
	if most := n * c.readers(); total > most {
		t.Errorf("%d batches came again after %d kills, want at most %d: %v", total, n, most, batches)
	}
	c.lines.forgive()
	c.lines.exact(t)
}

// TestStopBetweenModesRepeatsNothing: SIGTERM under load, and then the other mode, each line exactly once.
func TestStopBetweenModesRepeatsNothing(t *testing.T) {
	next := moments(t)
	c := newCapture(t, settings{shipped: "direct.yaml"})
	for i := range rounds(t, 6) {
		captured(t, c.lines, 1)
		time.Sleep(next(time.Second)) // the random moment; nothing is waited for
		c.col.stop(stopLimit)
		c.col.readFrom([]string{"api", "files"}[i%2])
		c.col.start()
	}
	c.end(t)
	c.lines.exact(t)
}

// TestCostOfModes measures the CPU time of the collector and of the engine for each mode in turn, catching up with a long log and
// following one that is written. It asserts nothing: see LOGCAPTURE_COST.
func TestCostOfModes(t *testing.T) {
	millions, err := strconv.ParseFloat(os.Getenv("LOGCAPTURE_COST"), 64)
	if err != nil {
		t.Skip("LOGCAPTURE_COST is the millions of lines to measure with; without it nothing is measured")
	}
	engine := ownEngine(t, dockertest.EngineSettings{})
	lines := int(millions * 1e6)
	steps := func(rate float64) []script.Step {
		return []script.Step{
			script.Lines{Count: 1}, script.Wait{Signal: "USR1"}, script.Lines{Count: lines, Length: 200, Block: 32 << 10, PerSecond: rate}, script.Wait{Signal: "TERM"},
		}
	}
	size := func(c *dockertest.Container) int64 {
		info, err := os.Stat(c.Inspect().LogPath)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	// The first process of a container ignores a signal that it does not listen for yet.
	begin := func(c *dockertest.Container) {
		eventually(t, readyLimit, "the line before the wait", func() string {
			if size(c) == 0 {
				return "none"
			}
			return ""
		})
		c.Signal("USR1")
	}
	// The collector is not asked meanwhile how far it is: that would cost it some milliseconds each time.
	write := func(c *dockertest.Container) {
		begin(c)
		for before := int64(-1); ; time.Sleep(time.Second) { // a log that has grown and grows no more
			now := size(c)
			if now == before && now > int64(lines)*200 {
				return
			}
			before = now
		}
	}
	live := func(mode string) *dockertest.Container {
		return dockertest.Run(t, dockertest.Spec{Name: "live-" + dockertest.Unique(mode), Client: engine.Client(), Steps: steps(50_000)})
	}
	old := dockertest.Run(t, dockertest.Spec{Name: "old", Client: engine.Client(), Steps: steps(0)})
	write(old)
	for range 3 {
		for _, mode := range []string{"api", "files"} {
			run := func(what, name string, then func()) {
				col, metrics := newMeteredCollector(t, settings{
					receivers: map[string]any{"container_log": map[string]any{
						"endpoint": engine.Host(), "read_from": mode, "storage": "file_storage", "include": map[string]any{"names": []string{name}},
					}},
					more: map[string]any{"exporters": map[string]any{"nop": nil}},
				})
				replaceExporter(t, col)
				engineBefore, collectorBefore := cpuOf(t, engine.PID()), time.Duration(0)
				began := time.Now()
				col.start()
				if then != nil {
					engineBefore, collectorBefore = cpuOf(t, engine.PID()), cpuOf(t, col.cmd.Process.Pid)
					began = time.Now()
					then()
				}
				for handedOn(t, col, metrics) <= float64(lines) {
					time.Sleep(500 * time.Millisecond) // each look costs the collector some milliseconds
				}
				took := time.Since(began)
				collector := cpuOf(t, col.cmd.Process.Pid) - collectorBefore
				t.Logf("%-8s %-5s %.2f s: CPU seconds for a million lines: collector %.2f, dockerd %.2f", what, mode, took.Seconds(),
					collector.Seconds()/millions, (cpuOf(t, engine.PID())-engineBefore).Seconds()/millions)
				col.stop(stopLimit)
			}
			run("catch-up", "old", nil)
			c := live(mode)
			run("live", c.Name, func() { write(c) })
			c.Remove()
		}
		c := live("none")
		before := cpuOf(t, engine.PID())
		write(c)
		t.Logf("live     none  CPU seconds for a million lines: dockerd %.2f", (cpuOf(t, engine.PID())-before).Seconds()/millions)
		c.Remove()
	}
}

// replaceExporter has the records go nowhere.
func replaceExporter(t *testing.T, col *collector) {
	t.Helper()
	path := filepath.Join(col.dir, "config.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(content), "- otlp_grpc", "- nop")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// handedOn returns how many records the receivers have handed on.
func handedOn(t *testing.T, col *collector, metrics string) (n float64) {
	t.Helper()
	text, err := col.get("http://" + metrics + "/metrics")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "otelcol_receiver_accepted_log_records") {
			value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			n += value
		}
	}
	return n
}

// cpuOf returns the processor time that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	_, cpu, err := usage(pid)
	if err != nil {
		t.Fatal(err)
	}
	return cpu
}
