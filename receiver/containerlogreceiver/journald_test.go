package containerlogreceiver

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/versions"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// startJournaldEngine starts an engine with a journald, and skips the test where that engine cannot read the journal.
func startJournaldEngine(t *testing.T) *dockertest.Engine {
	t.Helper()
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{Journal: true})
	engine.Start()
	c := dockertest.Run(t, journaldSpec(t, engine))
	_, err := engine.Client().ContainerLogs(t.Context(), c.ID, container.LogsOptions{ShowStdout: true})
	if errdefs.IsNotImplemented(err) {
		t.Skipf("NOT TESTED: this dockerd cannot read the journal: %v", err)
	}
	require.NoError(t, err)
	c.Remove()
	return engine
}

// startJournaldRig starts one, and a receiver that follows it.
func startJournaldRig(t *testing.T) (*dockertest.Engine, *rig) {
	t.Helper()
	engine := startJournaldEngine(t)
	r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
	r.start()
	awaitUp(r)
	return engine, r
}

func journaldSpec(t *testing.T, engine *dockertest.Engine, steps ...script.Step) dockertest.Spec {
	return dockertest.Spec{Name: name(t), Client: engine.Client(), LogDriver: "journald", Steps: steps}
}

// texts returns the text of the records of a stream.
func (r *rig) texts(id, stream string) (texts []string) {
	for _, line := range of(r.lines(id), " "+stream+" ") {
		_, text, _ := strings.Cut(line, "Z "+stream+" ")
		texts = append(texts, text)
	}
	return texts
}

func TestJournaldLines(t *testing.T) {
	t.Parallel()
	engine, r := startJournaldRig(t)
	x := strings.Repeat("0123456789abcdef", 1024)
	c := dockertest.Run(t, journaldSpec(t, engine,
		raw("", "one\n", "\n", "  two \r\n", x, x, "end\n", x, "1\n", x[1:], "\n"), raw("", x, x, "\n", "next\n"), raw(script.Stderr, "err\n", x, x, x, "\n"), raw("", "open")))
	r.awaitSettled(c.ID)
	want := []string{"one", "", "  two \r", x + x + "end", x + "1", x[1:], x + x, "next", "open"}
	if versions.LessThanOrEqualTo(engine.Client().ClientVersion(), "1.41") { // it gives no empty lines, which also are the ends of such long ones
		want = []string{"one", "  two \r", x + x + "end", x + "1", x[1:], x + x + "next", "open"}
	}
	requireTexts(t, want, r.texts(c.ID, script.Stdout))
	requireTexts(t, []string{"err", x + x + x}, r.texts(c.ID, script.Stderr))
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// The receiver is restarted amid lines that the engine cuts, and the container between its runs; the pipeline refuses now and then.
func TestJournaldOverRestarts(t *testing.T) {
	t.Parallel()
	engine := startJournaldEngine(t)
	var refuses atomic.Bool
	r := newRig(t, func(c *Config) {
		c.Endpoint = engine.Host()
		c.Retry.InitialInterval, c.Retry.MaxInterval = 50*time.Millisecond, 200*time.Millisecond
	})
	r.consumer.Answer(func(context.Context, plog.Logs) error {
		if refuses.Load() {
			return errors.New("not now")
		}
		return nil
	})
	const rounds, short, long = 40, 30, 2
	const each = rounds * (short + long) // lines of a stream in a run
	var steps []script.Step
	for range rounds {
		steps = append(steps, script.Lines{Stream: script.Both, Count: short, PerSecond: 500, Length: 200}, script.Lines{Stream: script.Both, Count: long, Length: 40_000})
	}
	c := dockertest.Run(t, journaldSpec(t, engine, append(steps, raw("", "open"), script.Wait{Signal: "TERM"}, script.Exit{})...))
	for run := 1; run <= 2; run++ {
		for part := range 8 {
			r.start()
			if part%3 == 1 {
				refuses.Store(true)
				time.Sleep(1200 * time.Millisecond) // longer than a connection is held meanwhile
				refuses.Store(false)
			}
			r.awaitLines(c.ID, 2*each*(run-1)+each*(part+1)/4)
			r.stop()
		}
		if run == 1 {
			c.Restart(10)
		}
	}
	c.Stop(10)
	r.start()
	r.awaitSettled(c.ID)
	for _, stream := range []string{script.Stdout, script.Stderr} {
		var want []string
		for run := 1; run <= 2; run++ {
			for round := range rounds {
				for i := range short + long {
					length := 200
					if i >= short {
						length = 40_000
					}
					want = append(want, string(script.AppendLine(nil, stream, run, round*(short+long)+i+1, length)))
				}
			}
			if stream == script.Stdout {
				want = append(want, "open")
			}
		}
		requireTexts(t, want, r.texts(c.ID, stream))
	}
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// Lines at full speed, while journald begins new files and the receiver is restarted.
func TestJournaldBurst(t *testing.T) {
	t.Parallel()
	engine := startJournaldEngine(t)
	r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
	const lines = 20_000
	c := dockertest.Run(t, journaldSpec(t, engine, script.Lines{Stream: script.Both, Count: lines, Length: 150}, script.Wait{}))
	for part := range 5 {
		r.start()
		r.awaitLines(c.ID, 2*lines*part/5+1)
		engine.Journalctl("--rotate")
		r.stop()
	}
	r.start()
	r.awaitLines(c.ID, 2*lines)
	requireNumbered(t, r, c.ID, lines)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// A container that ends and starts again and again. The engine's stream may go on over that.
func TestJournaldCrashLoop(t *testing.T) {
	t.Parallel()
	engine, r := startJournaldRig(t)
	const runs, lines = 5, 20
	spec := journaldSpec(t, engine, script.Lines{Stream: script.Both, Count: runs * lines, Resume: true, PerRun: lines}, raw("", "open"))
	spec.Restart = "always"
	c := dockertest.Run(t, spec)
	r.awaitLines(c.ID, runs*(2*lines+1))
	c.Stop(1)
	r.awaitSettled(c.ID)
	var want []string
	for i := range runs * lines {
		want = append(want, string(script.AppendLine(nil, script.Stderr, i/lines+1, i+1, 0)))
	}
	requireTexts(t, want, r.texts(c.ID, script.Stderr))
	r.stop()
}

// Containers that end at once, among others that write: journald is still writing what they said when the engine tells of their end.
func TestJournaldShortContainers(t *testing.T) {
	t.Parallel()
	engine, r := startJournaldRig(t)
	noise := dockertest.Run(t, journaldSpec(t, engine, script.Lines{Stream: script.Both, PerSecond: 100}))
	const lines = 500
	var containers []*dockertest.Container
	for range 20 {
		containers = append(containers, dockertest.Run(t, journaldSpec(t, engine, script.Lines{Stream: script.Both, Count: lines}, raw("", "open"))))
	}
	for i, c := range containers {
		r.awaitLines(c.ID, 2*lines+1)
		r.awaitSettled(c.ID)
		require.Len(t, r.lines(c.ID), 2*lines+1)
		require.Equal(t, "open", r.texts(c.ID, script.Stdout)[lines])
		if i%2 == 0 {
			c.Remove()
		}
	}
	noise.Remove()
	f := r.receiver.(*containerLog).follower
	waitFor(t, "forgetting", func() bool { return len(f.all()) == 10 })
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// journald takes what the engine sends when it gets to it; an engine tells of the end of a container, and gives all that is there, before that.
func TestJournaldIsLate(t *testing.T) {
	t.Parallel()
	engine, r := startJournaldRig(t)
	c := dockertest.Run(t, journaldSpec(t, engine, raw("", "one\n"), script.Wait{Signal: "USR1"}, raw("", "two\n")))
	r.awaitLines(c.ID, 1)
	engine.FreezeJournal(true)
	c.Signal("USR1")
	c.WaitExit(patience)
	time.Sleep(700 * time.Millisecond) // that late
	engine.FreezeJournal(false)
	r.awaitSettled(c.ID)
	requireTexts(t, []string{"one", "two"}, r.texts(c.ID, script.Stdout))
	r.stop()
}

// What journald deletes before it was read is told.
func TestJournaldForgets(t *testing.T) {
	t.Parallel()
	engine := startJournaldEngine(t)
	r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
	c := dockertest.Run(t, journaldSpec(t, engine, raw("", "read\n"), script.Wait{Signal: "USR1"}, raw("", "forgotten\n"), script.Wait{Signal: "USR1"}, raw("", "kept\n"), script.Wait{}))
	r.start()
	r.awaitLines(c.ID, 1)
	r.stop()
	c.Signal("USR1")
	waitFor(t, "the second line", func() bool { return len(c.Logs()) == 2 })
	engine.Journalctl("--rotate")
	engine.Journalctl("--vacuum-files=1")
	require.Empty(t, c.Logs())
	c.Signal("USR1")
	waitFor(t, "the third line", func() bool { return len(c.Logs()) == 1 })
	r.start()
	r.awaitLines(c.ID, 3)
	records := r.records(c.ID)
	require.Equal(t, "container.log.gap", records[1].Log.EventName())
	require.Equal(t, "kept", records[2].Body)
	require.Equal(t, int64(1), r.metric("logcapture_gaps"))
	r.stop()
}
