package containerlogreceiver

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// block is a pipeline that takes nothing until it is opened.
type block struct {
	gate chan struct{}
	once sync.Once
	n    atomic.Int64
}

func newBlock() *block { return &block{gate: make(chan struct{})} }

func (b *block) answer(ctx context.Context, _ plog.Logs) error {
	b.n.Add(1)
	defer b.n.Add(-1)
	select {
	case <-b.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *block) waiting() int64 { return b.n.Load() }
func (b *block) open()          { b.once.Do(func() { close(b.gate) }) }

// rotating is a container that writes about 230 bytes a line, over many rotations; many in a second are too fast for an engine on a
// loaded machine, which then skips some of it by itself.
func rotating(t *testing.T, driver, size, files string, lines int) *dockertest.Container {
	return dockertest.Run(t, dockertest.Spec{Name: name(t), LogDriver: driver, LogOpts: map[string]string{"max-size": size, "max-file": files}, Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: lines, PerSecond: 1500, Length: 220}, raw("", "end\n"), script.Wait{},
	}})
}

// awaitEnd waits until the engine has all that a rotating container writes.
func awaitEnd(t *testing.T, c *dockertest.Container) {
	t.Helper()
	before := ""
	var logs []dockertest.Entry
	defer func() {
		if t.Failed() {
			t.Logf("the engine has %d lines, the last is %q", len(logs), before)
		}
	}()
	waitFor(t, "the end of the container's lines", func() bool {
		time.Sleep(250 * time.Millisecond) // each look has the engine read, and unpack, all of the log
		logs = c.Logs()
		// The other stream may end later, by as much as pipes hold.
		ended := slices.ContainsFunc(logs, func(entry dockertest.Entry) bool { return entry.Text == "end" })
		last := logs[len(logs)-1].Text
		settled := ended && last == before
		before = last
		return settled
	})
}

// Row 25 and 29: a prompt pipeline; also where the log is one file, so that the engine has little of it at the end. The writer waits for
// the receiver again and again: on a loaded machine that would fall behind by more than one file, and lose what is not there any more. Of one
// file, that is whatever was not read when it is begun anew.
func TestRotation(t *testing.T) {
	t.Parallel()
	inBothModes(t, testRotation)
}

func testRotation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, files, size string
		bursts, lines     int
	}{
		{"five files", "5", "1m", 12, 1000},
		{"one file", "1", "100k", 300, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bursts, lines := tt.bursts, tt.lines
			var steps []script.Step
			for range bursts {
				steps = append(steps, script.Lines{Stream: script.Both, Count: lines, PerSecond: 4000, Length: 220}, script.Wait{Signal: "USR1"})
			}
			r := newRig(t, nil)
			r.start()
			awaitUp(r)
			c := dockertest.Run(t, dockertest.Spec{
				Name: dockertest.Unique(prefixFor(t)), LogDriver: "json-file", LogOpts: map[string]string{"max-size": tt.size, "max-file": tt.files}, Steps: steps,
			})
			for i := range bursts {
				r.awaitLines(c.ID, 2*lines*(i+1))
				c.Signal("USR1")
			}
			requireNumbered(t, r, c.ID, bursts*lines)
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// requireNumbered fails when not each of the numbered lines is there once and in order.
func requireNumbered(t *testing.T, r *rig, id string, n int) {
	t.Helper()
	next := map[string]int{}
	for _, record := range r.records(id) {
		if record.Body == "end" {
			continue
		}
		stream, _, seq, ok := script.ParseLine(record.Body)
		require.True(t, ok, record.Body)
		next[stream]++
		require.Equal(t, next[stream], seq, stream)
	}
	require.Equal(t, map[string]int{"stdout": n, "stderr": n}, next)
}

// Row 26 and 28: the pipeline takes nothing for a long time while the log rotates, and the engine keeps all of it. The position lies behind
// the first rotation: an engine whose files are compressed then skips some of them when it is asked for what came since.
func TestPipelineThatIsBlockedOverManyRotations(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]struct{ driver, compress string }{
		"json-file": {"json-file", "false"}, "json-file, compressed": {"json-file", "true"}, "local": {"local", "true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const before, lines = 1500, 10_000 // 40 files keep three times as much
			b := newBlock()
			r := newRig(t, nil)
			r.start()
			awaitUp(r)
			c := dockertest.Run(t, dockertest.Spec{
				Name: dockertest.Unique(prefixFor(t)), LogDriver: log.driver, LogOpts: map[string]string{"max-size": "500k", "max-file": "40", "compress": log.compress},
				Steps: []script.Step{
					script.Lines{Stream: script.Both, Count: before, PerSecond: 1500, Length: 220}, script.Wait{Signal: "USR1"},
					script.Lines{Stream: script.Both, Count: lines - before, PerSecond: 1500, Length: 220}, raw("", "end\n"), script.Wait{},
				},
			})
			r.awaitLines(c.ID, 2*before)
			r.consumer.Answer(b.answer)
			c.Signal("USR1")
			waitFor(t, "a delivery", func() bool { return b.waiting() > 0 })
			awaitEnd(t, c)
			require.Len(t, c.Logs(), 2*lines+1, "the engine has lost some")
			require.Less(t, len(r.records(c.ID)), lines, "the block came too late for the test to say something")
			b.open()
			r.awaitLines(c.ID, 2*lines+1)
			requireNumbered(t, r, c.ID, lines)
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// A start in the middle of a log of compressed files: an engine that is asked for what came since then skips some of it.
func TestStartBetweenCompressedFiles(t *testing.T) {
	t.Parallel()
	const before, lines, pause = 2000, 4000, 10 * time.Second
	c := dockertest.Run(t, dockertest.Spec{
		Name: name(t), LogDriver: "local", LogOpts: map[string]string{"max-size": "500k", "max-file": "40"},
		Steps: []script.Step{
			script.Lines{Stream: script.Both, Count: before, PerSecond: 4000, Length: 220}, script.Wait{Millis: int(pause.Milliseconds())},
			script.Lines{Stream: script.Both, Count: lines - before, PerSecond: 4000, Length: 220}, raw("", "end\n"), script.Wait{},
		},
	})
	waitFor(t, "lines behind the pause", func() bool { return len(c.Logs()) > 2*before })
	awaitEnd(t, c)
	logs := c.Logs()
	from := logs[2*before-1].Stamp.Add(pause / 2)
	r := newRig(t, nil)
	r.config.StartAt = time.Since(from).String()
	require.NoError(t, r.config.Validate())
	r.start()
	r.awaitLines(c.ID, len(logs)-2*before)
	require.Equal(t, engineLines(c)[2*before:], r.lines(c.ID))
	r.stop()
}

// Row 30 and 39: history that is gone is told, once, and what is there comes.
func TestRetentionOverrunIsReported(t *testing.T) {
	t.Parallel()
	inBothModes(t, testRetentionOverrunIsReported)
}

func testRetentionOverrunIsReported(t *testing.T) {
	t.Parallel()
	b := newBlock()
	r := newRig(t, nil)
	r.start()
	awaitUp(r)
	size := "500k"
	if modeOf(t) == readFiles {
		size = "200k" // files that are held open outlive some rotations
	}
	c := rotating(t, "json-file", size, "2", 10_000)
	r.awaitLines(c.ID, 100)
	r.consumer.Answer(b.answer)
	waitFor(t, "a delivery", func() bool { return b.waiting() > 0 })
	awaitEnd(t, c)
	kept := engineLines(c)
	b.open()
	waitFor(t, "the last line", func() bool {
		lines := r.lines(c.ID)
		return lines[len(lines)-1] == kept[len(kept)-1]
	})
	// A machine that is slow can be overrun before the pipeline is blocked too: what counts is the last gap.
	var gaps []capturetest.Record
	var before, after []string
	for _, record := range r.records(c.ID) {
		stream, _ := record.Log.Attributes().Get("log.iostream")
		line := describeLine(record.Log.Timestamp().AsTime(), stream.Str(), record.Body)
		switch {
		case record.Log.EventName() == "container.log.gap":
			gaps, before, after = append(gaps, record), append(before, after...), nil
		default:
			after = append(after, line)
		}
	}
	require.NotEmpty(t, gaps)
	require.Equal(t, int64(len(gaps)), r.metric("logcapture_gaps"))
	last := gaps[len(gaps)-1]
	first := strings.Fields(after[0])[0]
	if modeOf(t) == readFiles && len(after) > len(kept) {
		after = after[len(after)-len(kept):] // files that were held open had more
	}
	require.Equal(t, kept, after, "all that the engine still has follows the gap")
	from, to := gapOf(t, last)
	newest := ""
	for _, line := range before {
		newest = max(newest, strings.Fields(line)[0])
	}
	require.Equal(t, newest, from)
	require.Equal(t, first, to)
	r.stop()
}

// Row 31 with the real engine: the log is truncated under it.
func TestTruncatedLog(t *testing.T) {
	t.Parallel()
	inBothModes(t, testTruncatedLog)
}

func testTruncatedLog(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 1000}, script.Wait{Signal: "USR1"}, script.Lines{Count: 100}, script.Wait{},
	}})
	r := newRig(t, func(c *Config) { c.IdleCheckInterval = 500 * time.Millisecond })
	r.start()
	r.awaitLines(c.ID, 1000)
	if err := os.Truncate(c.Inspect().LogPath, 0); err != nil {
		dockertest.Unavailable(t, "the engine's files are not readable here: %v", err)
	}
	c.Signal("USR1")
	waitFor(t, "the last line", func() bool {
		records := r.records(c.ID)
		return records[len(records)-1].Body == "stdout-1-1100"
	})
	requireBodies := map[string]int{}
	for _, record := range r.records(c.ID) {
		if record.Log.EventName() == "" { // what was cut off may have been read or not: it can be told as a gap
			requireBodies[record.Body]++
		}
	}
	require.Len(t, requireBodies, 1100)
	r.stop()
}

// The log of a container that goes on writing is truncated, once and again: what was cut off before it was read is told, and nothing comes twice.
// Through the API nothing can tell that an engine had not sent a line.
func TestTruncatedLogOfABusyContainer(t *testing.T) {
	t.Parallel()
	inBothModes(t, testTruncatedLogOfABusyContainer)
}

func testTruncatedLogOfABusyContainer(t *testing.T) {
	t.Parallel()
	const lines = 3000
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: lines, PerSecond: 300, Length: 200}, script.Wait{}}})
	r := newRig(t, func(c *Config) { c.IdleCheckInterval = 500 * time.Millisecond })
	r.start()
	path := c.Inspect().LogPath
	for _, n := range []int{500, 1500, 1600} {
		r.awaitLines(c.ID, n)
		if err := os.Truncate(path, 0); err != nil {
			dockertest.Unavailable(t, "the engine's files are not readable here: %v", err)
		}
	}
	waitFor(t, "the last line", func() bool {
		records := r.records(c.ID)
		_, _, n, ok := script.ParseLine(records[len(records)-1].Body)
		return ok && n == lines
	})
	next, told := 1, false
	for _, record := range r.records(c.ID) {
		if record.Log.EventName() == "container.log.gap" {
			told = true
			continue
		}
		_, _, n, ok := script.ParseLine(record.Body)
		require.True(t, ok, record.Body)
		require.True(t, n == next || n > next && (told || modeOf(t) == readAPI), "line %d, want %d; a gap is told before it: %t", n, next, told)
		next, told = n+1, false
	}
	r.stop()
}

// Row 36: both streams at full speed, so that stamps invert, with many forced reconnects.
func TestForcedReconnectsWhileStampsInvert(t *testing.T) {
	t.Parallel()
	inBothModes(t, testForcedReconnectsWhileStampsInvert)
}

func testForcedReconnectsWhileStampsInvert(t *testing.T) {
	t.Parallel()
	c := dockertest.Create(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 20_000, PerSecond: 6000}, script.Wait{},
	}})
	r := newRig(t, nil)
	r.start()
	awaitUp(r)
	c.Start()
	f := r.receiver.(*containerLog).follower
	const reconnects = 25
	for i := range reconnects {
		r.awaitLines(c.ID, 1000*(i+1))
		waitFor(t, "the log is open", func() bool { return r.open(c.ID) })
		box := f.get(c.ID)
		box.mu.Lock()
		st := box.stream
		box.mu.Unlock()
		before := r.metric("logcapture_resumes")
		st.close(errReleased)
		waitFor(t, "a resume", func() bool { return r.metric("logcapture_resumes") > before })
	}
	r.awaitLines(c.ID, 40_000)
	r.requireExact(c)
	require.GreaterOrEqual(t, r.metric("logcapture_resumes"), int64(reconnects))
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// The log rotates while it is opened again, and again: the engine learns of a rotation then with the next one, and leaves out the file between.
func TestRotationsWhileTheLogIsOpened(t *testing.T) {
	t.Parallel()
	inBothModes(t, testRotationsWhileTheLogIsOpened)
}

func testRotationsWhileTheLogIsOpened(t *testing.T) {
	t.Parallel()
	const lines = 12_000
	c := dockertest.Create(t, dockertest.Spec{
		Name: name(t), LogDriver: "json-file", LogOpts: map[string]string{"max-size": "200k", "max-file": "60"},
		Steps: []script.Step{script.Lines{Stream: script.Both, Count: lines, PerSecond: 1000, Length: 220}, script.Wait{}}, // 3 rotations in a second
	})
	r := newRig(t, nil)
	r.start()
	awaitUp(r)
	c.Start()
	f := r.receiver.(*containerLog).follower
	for r.awaitLines(c.ID, 1); len(r.records(c.ID)) < 2*lines*9/10; {
		waitFor(t, "the log is open", func() bool { return r.open(c.ID) })
		box := f.get(c.ID)
		box.mu.Lock()
		st := box.stream
		box.mu.Unlock()
		before := r.metric("logcapture_resumes")
		st.close(errReleased)
		waitFor(t, "a resume", func() bool { return r.metric("logcapture_resumes") > before })
		r.awaitLines(c.ID, min(2*lines, len(r.records(c.ID))+500))
	}
	waitFor(t, "the container's lines", func() bool { return len(c.Logs()) == 2*lines })
	r.awaitLines(c.ID, 2*lines)
	r.requireExact(c)
	require.Zero(t, r.metric("logcapture_gaps"))
	t.Logf("%d resumes", r.metric("logcapture_resumes"))
	r.stop()
}
