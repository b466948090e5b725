//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

const (
	containers      = 8
	restarted       = 3 // of them
	restarts        = 10
	containerLines  = 5000 // to each of stdout and stderr
	containerRate   = 200  // lines per second and stream
	linesPerRun     = 390  // of a container that restarts, so that some are left for the last run
	files           = 20
	fileLines       = 4000
	linesPerFile    = 250
	steadySamples   = 20
	perContainer    = 3 // goroutines that a followed container may cost
	stopLimit       = 10 * time.Second
	completionLimit = 90 * time.Second
)

// TestEveryLineOnce is the whole way at once: containers that write to both streams while some of them restart, files
// that rotate by renaming, the collector stopped in the middle and started again. Who writes keeps pace with the test, so
// that on a slow machine too each step finds writers at work.
func TestEveryLineOnce(t *testing.T) {
	engine := ownEngine(t, dockertest.EngineSettings{})
	dir := t.TempDir()
	sink := newSink(t)
	lines := check(sink)
	col := newCollector(t, settings{endpoint: sink.addr, receivers: map[string]any{
		"container_log": map[string]any{"endpoint": engine.Host(), "storage": "file_storage"},
		"file_tail": map[string]any{
			"include": []string{dir + "/*.log*"}, "start_at": "beginning", "storage": "file_storage", "poll_interval": "100ms",
		},
	}})
	col.start()
	writeOne(t, lines, dir, "warm-up")
	within := budget{t: t, base: following(t, col, lines, engine), containers: containers + 1, dir: dir} // and the quiet one

	running := make([]*dockertest.Container, containers)
	for i := range running {
		running[i] = dockertest.Run(t, dockertest.Spec{
			Name: fmt.Sprintf("e2e-%d", i), Steps: writeInRuns(i < restarted), Client: engine.Client(),
		})
		lines.expectContainer(running[i].Name, containerLines)
	}
	var allowed atomic.Int64
	writers := make([]fileWriter, files)
	for i := range writers {
		writers[i] = fileWriter{
			dir: dir, name: fmt.Sprintf("app-%02d", i), lines: fileLines, rotateEvery: linesPerFile, allowed: &allowed,
		}
		lines.expect(writers[i].name, fileLines)
	}
	written := background(t, writers)

	for round := range restarts {
		switch round {
		case restarts / 2:
			col.stop(stopLimit)
		case restarts/2 + 2:
			col.start()
		}
		for _, c := range running[:restarted] {
			allowed.Add(fileLines / (restarts + 1) / restarted)
			restartWriting(t, c)
			if col.running() {
				within.check("while containers restart", col.sample(engine.Socket()))
			}
		}
	}
	for _, c := range running {
		lineOfThisRun(t, c)
		c.Signal("USR1")
	}
	before := lines.count()
	within.flat("while containers write", func() sample {
		allowed.Add(linesPerFile / steadySamples)
		return col.sample(engine.Socket())
	})
	if lines.count() == before {
		t.Error("nothing was captured while the samples were taken")
	}
	allowed.Store(fileLines)
	written.wait()
	lines.complete(t, completionLimit)
	within.flat("when all have written", func() sample { return col.sample(engine.Socket()) })

	// What a restart would repeat comes before the line that is written after it.
	col.stop(stopLimit)
	col.start()
	writeOne(t, lines, dir, "last")
	c := dockertest.Run(t, dockertest.Spec{
		Name: "e2e-last", Steps: []script.Step{script.Lines{Stream: script.Both, Count: 1}}, Client: engine.Client(),
	})
	lines.expectContainer(c.Name, 1)
	lines.complete(t, completionLimit)
	col.stop(stopLimit)

	lines.exact(t)
	if mixed := lines.mixed(); mixed != "" {
		t.Errorf("lines of rotated files came after those of a later file of their name:%s", mixed)
	}
	for i, c := range running {
		sameAsEngine(t, sink, c)
		want := 1
		if i < restarted {
			want += restarts
		}
		if runs := runsOf(t, c); runs != want {
			t.Errorf("%s wrote in %d runs, want %d", c.Name, runs, want)
		}
	}
	sameAsEngine(t, sink, c)
}

// writeOne writes a file of one line and waits until it is captured.
func writeOne(t *testing.T, lines *checked, dir, name string) {
	t.Helper()
	lines.expect(name, 1)
	background(t, []fileWriter{{dir: dir, name: name, lines: 1}}).wait()
	eventually(t, readyLimit, "line of "+name, func() string {
		if strings.Contains(lines.incomplete(), "\n"+name+":") {
			return "not captured"
		}
		return ""
	})
}

// writeInRuns writes all lines, the last fifth after USR1; a container that is restarted writes some in each run.
func writeInRuns(restarts bool) []script.Step {
	most := script.Lines{Stream: script.Both, Count: containerLines * 4 / 5, PerSecond: containerRate, Length: 60, Resume: true}
	rest := most
	rest.Count, rest.PerSecond = containerLines, containerRate/2
	if restarts {
		most.PerRun = linesPerRun
	}
	return []script.Step{most, script.Wait{Signal: "USR1"}, rest, script.Wait{Signal: "TERM"}}
}

// following runs a quiet container and waits until it is captured: from then on the collector has all that it needs for
// itself. It returns what that is, without what this container costs.
func following(t *testing.T, col *collector, lines *checked, engine *dockertest.Engine) sample {
	t.Helper()
	quiet := dockertest.Run(t, dockertest.Spec{
		Name: "e2e-quiet", Client: engine.Client(),
		Steps: []script.Step{script.Lines{Stream: script.Both, Count: 1}, script.Wait{}},
	})
	lines.expectContainer(quiet.Name, 1)
	lines.complete(t, completionLimit)
	base := settled(t, col, engine.Socket())
	base.goroutines -= perContainer
	base.connections--
	base.fds--
	return base
}

// restartWriting restarts a container in the middle of its writing.
func restartWriting(t *testing.T, c *dockertest.Container) {
	t.Helper()
	lineOfThisRun(t, c)
	c.Restart(10)
}

// lineOfThisRun waits until the present run has written: before that process 1 is deaf for signals.
func lineOfThisRun(t *testing.T, c *dockertest.Container) {
	t.Helper()
	started, err := time.Parse(time.RFC3339Nano, c.Inspect().State.StartedAt)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, readyLimit, "line of "+c.Name, func() string {
		entries := c.Logs()
		if len(entries) == 0 || !entries[len(entries)-1].Stamp.After(started) {
			return fmt.Sprintf("none since %v", started)
		}
		return ""
	})
}

func runsOf(t *testing.T, c *dockertest.Container) int {
	t.Helper()
	runs := map[int]bool{}
	for _, e := range c.Logs() {
		if _, run, _, ok := script.ParseLine(e.Text); ok {
			runs[run] = true
		}
	}
	return len(runs)
}
