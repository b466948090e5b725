//go:build linux

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	capturing "github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

const (
	backlogLine = 1000 // bytes
	// backlogMemory is what the README promises for direct.yaml, whatever waits to be read: 64 MiB in flight for each of two
	// receivers, as bytes and as records, and the collector itself.
	backlogMemory = 400 << 20
)

// backlog is what waits to be read: files that are there already, and containers that have written.
type backlog struct{ bytes, files, containers int }

// backlogOf is small by default; LOGCAPTURE_BACKLOG gives the size of the long form.
func backlogOf(t *testing.T) backlog {
	t.Helper()
	text := os.Getenv("LOGCAPTURE_BACKLOG")
	if text == "" {
		return backlog{bytes: 150 << 20, files: 100, containers: 4}
	}
	var size capturing.ByteSize
	if err := size.UnmarshalText([]byte(text)); err != nil {
		t.Fatalf("LOGCAPTURE_BACKLOG: %v", err)
	}
	return backlog{bytes: int(size), files: 1000, containers: 50}
}

// outage is how long the backend is away; LOGCAPTURE_OUTAGE gives that of the long form.
func outage(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LOGCAPTURE_OUTAGE")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("LOGCAPTURE_OUTAGE: %v", err)
	}
	return d
}

// lines is how many each source has. A tenth of the bytes is in the containers' logs, half of that in each stream.
func (b backlog) lines() (ofFile, ofStream int) {
	return b.bytes / 10 * 9 / b.files / backlogLine, b.bytes / 10 / b.containers / 2 / backlogLine
}

func (b backlog) write(t *testing.T, dir string, lines *checked) {
	t.Helper()
	count, _ := b.lines()
	for i := range b.files {
		name := fmt.Sprintf("backlog-%04d", i)
		file, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		w := bufio.NewWriterSize(file, 1<<20)
		var line []byte
		for seq := 1; seq <= count; seq++ {
			line = append(script.AppendLine(line[:0], name, 1, seq, backlogLine-1), '\n')
			_, _ = w.Write(line) // an error comes again from Flush
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		lines.expect(name, count)
	}
}

// meter samples the resident memory of a process.
type meter struct {
	pid     int
	mu      sync.Mutex
	samples []int
	stop    func()
}

func newMeter(t *testing.T, pid int) *meter {
	t.Helper()
	m, end := &meter{pid: pid}, make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
			}
			m.sample()
		}
	})
	m.stop = sync.OnceFunc(func() { close(end); group.Wait() })
	t.Cleanup(m.stop)
	return m
}

func (m *meter) sample() {
	if rss, _, err := usage(m.pid); err == nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.samples = append(m.samples, rss)
	}
}

// take returns the samples since the last time, one of this moment among them.
func (m *meter) take() []int {
	m.sample()
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.samples
	m.samples = nil
	return taken
}

// quiet asks that nothing is stored while nothing moves.
func quiet(t *testing.T, c *capture) {
	t.Helper()
	writes, since := -1, time.Now()
	eventually(t, readyLimit, "two seconds without a position stored", func() string {
		if n := c.metric(t, "checkpoint_writes", ""); n != writes {
			writes, since = n, time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Sprintf("%d writes", writes)
		}
		return ""
	})
}

// TestBacklogIsReadInBoundedMemory: more waits than any memory holds, the backend is slow, then it is away, then it is fast.
func TestBacklogIsReadInBoundedMemory(t *testing.T) {
	size := backlogOf(t)
	engine, dir, sink := ownEngine(t, dockertest.EngineSettings{}), t.TempDir(), newSink(t)
	lines := check(sink)
	sink.forgetAll()
	size.write(t, dir, lines)
	_, ofStream := size.lines()
	var running []*dockertest.Container
	for i := range size.containers {
		running = append(running, dockertest.Run(t, dockertest.Spec{
			Name: fmt.Sprintf("backlog-%d", i), Client: engine.Client(), Steps: []script.Step{
				script.Lines{Stream: script.Both, Count: ofStream, Length: backlogLine - 1, Block: 64 << 10}, script.Wait{Signal: "TERM"},
			},
		}))
		lines.expectContainer(running[i].Name, ofStream)
	}
	col, metrics := newMeteredCollector(t, settings{shipped: "direct.yaml", endpoint: sink.addr, receivers: map[string]any{
		"container_log": map[string]any{"endpoint": engine.Host()},
		"file_tail":     map[string]any{"include": []string{dir + "/*.log"}},
	}})
	c := &capture{col: col, metrics: metrics, lines: lines}
	sink.behave(behaviour{delay: 100 * time.Millisecond})
	col.start()
	memory := newMeter(t, col.pid())
	total := size.bytes / backlogLine
	captured(t, lines, total/50)

	sink.behave(behaviour{refuse: codes.Unavailable})
	inflight := 0
	eventually(t, readyLimit, "as much in flight as may be", func() string {
		before := inflight
		time.Sleep(500 * time.Millisecond)
		if inflight = c.metric(t, "inflight_bytes", ""); inflight == before {
			return ""
		}
		return fmt.Sprintf("%d bytes, %d before", inflight, before)
	})
	slow := memory.take()
	time.Sleep(outage(t)) // what is tested is what happens meanwhile
	away := memory.take()
	if n := c.metric(t, "records_dropped", ""); n != 0 {
		t.Errorf("%d records were dropped", n)
	}
	inflight = c.metric(t, "inflight_bytes", "")
	before, begin := lines.count(), time.Now()
	sink.behave(behaviour{})
	lines.complete(t, completionLimit+time.Duration(size.bytes>>20)*time.Second/4)
	took := time.Since(begin)
	fast := memory.take()
	memory.stop()
	quiet(t, c)
	col.stop(stopLimit)
	lines.exact(t)

	t.Logf("%d MB in %d files and %d containers; resident at most %d MiB while the backend was slow, %d while it was away for %v, %d after; "+
		"%d MiB in flight while away; then %.0f MB/s", size.bytes/1e6, size.files, size.containers,
		slices.Max(slow)>>20, slices.Max(away)>>20, outage(t), slices.Max(fast)>>20, inflight>>20,
		float64((lines.count()-before)*backlogLine)/1e6/took.Seconds())
	if most := max(slices.Max(slow), slices.Max(away), slices.Max(fast)); most > backlogMemory {
		t.Errorf("%d MiB resident, want at most %d", most>>20, backlogMemory>>20)
	}
	// Flat while waiting: no try leaves anything behind.
	half := len(away) / 2
	if early, late := slices.Max(away[:half]), slices.Max(away[half:]); late > early+early/10 {
		t.Errorf("the memory grew while the backend was away: from %d to %d MiB", early>>20, late>>20)
	}
}
