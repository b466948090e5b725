//go:build linux

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest"
)

// TestEngineThatComesLateAndIsKilled: the engine is no condition for a start, and its death costs no line.
func TestEngineThatComesLateAndIsKilled(t *testing.T) {
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{LiveRestore: true})
	sink := newSink(t)
	lines := check(sink)
	col := newCollector(t, settings{endpoint: sink.addr, receivers: map[string]any{
		"container_log": map[string]any{"endpoint": engine.Host(), "storage": "file_storage"},
	}})
	col.start()
	if n := settled(t, col, engine.Socket()).connections; n != 0 {
		t.Errorf("%d connections to an engine that is not there", n)
	}
	engine.Start()
	base := following(t, col, lines, engine)
	running := make([]*dockertest.Container, 3)
	for i := range running {
		running[i] = dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: endless})
	}
	for range 2 {
		captured(t, lines, 300)
		engine.Kill()
		if problem := col.unhealthy(); problem != "" {
			t.Errorf("while the engine is away: %s", problem)
		}
		engine.Start()
	}
	captured(t, lines, 300)
	// A kill can cost what the engine has read from a container and not written down yet: its own log is the truth.
	want := 0
	for _, c := range running {
		c.Stop(10)
		want += len(c.Logs())
	}
	want += 2 // of the quiet container
	eventually(t, completionLimit, "all lines", func() string {
		if n := lines.count(); n < want {
			return fmt.Sprintf("%d of %d", n, want)
		}
		return ""
	})
	// What is left of the streams: connections kept for the next request, each with two goroutines of net/http, which end
	// by themselves after half a minute.
	eventually(t, readyLimit, "back to what it was before the first container", func() string {
		after := col.sample(engine.Socket())
		idle := after.connections - base.connections - 1 // the quiet container is followed on
		if idle > len(running) || after.goroutines > base.goroutines+perContainer+2*max(0, idle) {
			return after.difference(base)
		}
		return ""
	})
	col.stop(stopLimit)
	for _, c := range running {
		sameAsEngine(t, sink, c)
	}
}

// captured waits until that many more lines have come.
func captured(t *testing.T, lines *checked, more int) {
	t.Helper()
	want := lines.count() + more
	eventually(t, completionLimit, "more lines", func() string {
		if n := lines.count(); n < want {
			return fmt.Sprintf("%d of %d", n, want)
		}
		return ""
	})
}

// engineHas waits until the engine has that many lines of a container and no more come.
func engineHas(t *testing.T, c *dockertest.Container, atLeast int) {
	t.Helper()
	last, since := -1, time.Now()
	eventually(t, completionLimit, "engine's log of "+c.Name, func() string {
		n := len(c.Logs())
		if n != last {
			last, since = n, time.Now()
		}
		if n >= atLeast && time.Since(since) > time.Second {
			return ""
		}
		return "not complete"
	})
}
