//go:build linux

package e2e

import (
	"testing"

	"google.golang.org/grpc/codes"
)

// pending waits until the sink is owed lines: the collector has taken what the sink refuses.
func (c *capture) pending(t *testing.T) {
	t.Helper()
	before := c.sink.refusals()
	c.sink.behave(behaviour{refuse: codes.Unavailable})
	c.goesOn(t, 300)
	eventually(t, readyLimit, "refusals", func() string {
		if n := c.sink.refusals() - before; n == 0 {
			return "none"
		}
		return ""
	})
}

// TestQueueOnDiskOutlivesStopAndKill: what the queue has acknowledged comes, whatever becomes of the collector meanwhile.
func TestQueueOnDiskOutlivesStopAndKill(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "disk_queue.yaml"})
	c.sink.forgetAll()
	for range 2 {
		captured(t, c.lines, 500)
		c.pending(t)
		c.col.stop(stopLimit)
		c.sink.behave(behaviour{})
		c.col.start()
	}
	captured(t, c.lines, 500)
	if found := c.lines.repeats(); found != 0 {
		t.Errorf("%d lines came again after stops", found)
	}
	for range 3 {
		c.pending(t)
		c.col.kill()
		c.sink.behave(behaviour{})
		c.col.start()
		captured(t, c.lines, 500)
	}
	c.end(t)
	// The exporter puts a batch that it was sending back at the end of its queue when it starts again.
	t.Logf("2 stops and 3 kills: of %d lines %d came again, %d came after later ones", c.lines.count(), c.lines.forgive(), c.lines.forgiveOrder())
	c.lines.exact(t)
}

// TestQueueInMemoryIsLostWithAKill: a stop loses nothing while the backend answers. A kill loses what was in the queue, and this
// test says how much; nothing that came after it.
func TestQueueInMemoryIsLostWithAKill(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "memory_queue.yaml"})
	c.sink.forgetAll()
	for range 2 {
		captured(t, c.lines, 500)
		c.col.stop(stopLimit)
		c.col.start()
	}
	captured(t, c.lines, 500)
	if found := c.lines.repeats(); found != 0 {
		t.Errorf("%d lines came again after stops", found)
	}
	c.pending(t)
	c.col.kill()
	c.sink.behave(behaviour{})
	c.col.start()
	c.written.end(c.lines)
	expectLogs(t, c.lines, c.running)
	writeOne(t, c.lines, c.dir, "last")
	c.col.stop(stopLimit)
	lost := c.lines.lost()
	t.Logf("%d of %d lines are lost with one kill, %d came again", lost, c.lines.count()+lost, c.lines.forgive())
	if lost == 0 {
		t.Error("nothing is lost: the guarantees are better than the README says")
	}
}

// TestOutageLongerThanTheQueueCostsNothing: a queue that is full makes the receivers wait, and they lose nothing by it.
func TestOutageLongerThanTheQueueCostsNothing(t *testing.T) {
	t.Parallel()
	for _, shipped := range []string{"disk_queue.yaml", "memory_queue.yaml"} {
		t.Run(shipped, func(t *testing.T) {
			c := newCapture(t, settings{shipped: shipped, more: map[string]any{
				"exporters": map[string]any{"otlp_grpc": map[string]any{
					"sending_queue":    map[string]any{"sizer": "requests", "queue_size": 5},
					"retry_on_failure": map[string]any{"initial_interval": "200ms", "max_interval": "1s"}, // or the test waits
				}},
			}})
			c.sink.forgetAll()
			captured(t, c.lines, 200)
			c.sink.behave(behaviour{refuse: codes.Unavailable})
			c.goesOn(t, 1_000)
			c.sink.behave(behaviour{})
			c.written.end(c.lines)
			expectLogs(t, c.lines, c.running)
			c.lines.complete(t, completionLimit)
			c.col.stop(stopLimit)
			if n := c.lines.repeats(); n != 0 {
				t.Errorf("%d lines came again", n)
			}
		})
	}
}
