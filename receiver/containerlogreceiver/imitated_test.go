package containerlogreceiver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

func newFakeRig(t *testing.T, e *fakeEngine, adjust func(*Config)) *rig {
	t.Helper()
	return newRig(t, func(c *Config) {
		c.Endpoint = e.host
		if adjust != nil {
			adjust(c)
		}
	})
}

func (r *rig) bodies(c *fakeContainer) (bodies []string) {
	for _, record := range r.records(c.id) {
		bodies = append(bodies, record.Body)
	}
	return bodies
}

// Row 31, Docker 28: after a truncation of the log under it, a follow gives nothing more; a new request works.
func TestDeadStreamIsFoundAndOpenedAgain(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.IdleCheckInterval = 200 * time.Millisecond })
	r.start()
	c := e.run(&fakeContainer{log: []fakeRecord{{at: time.Now(), text: "one\n"}}, deaf: 1})
	quiet := e.run(&fakeContainer{log: []fakeRecord{{at: time.Now(), text: "quiet\n"}}})
	r.awaitLines(c.id, 1)
	e.write(c, "two", "three")
	e.change(func() { c.deaf = 0 })
	r.awaitLines(c.id, 3)
	require.Equal(t, []string{"one", "two", "three"}, r.bodies(c))
	e.write(c, "four")
	r.awaitLines(c.id, 4)
	r.awaitLines(quiet.id, 1)
	require.Zero(t, r.metric("logcapture_gaps"))
	// The one that really is quiet was asked for its newest line, but never opened again.
	opened := r.metric("logcapture_resumes")
	asked := e.logsRequests(quiet)
	waitFor(t, "more questions", func() bool { return e.logsRequests(quiet) > asked+2 })
	require.Equal(t, opened, r.metric("logcapture_resumes"))
	r.stop()
}

// A peer can vanish before it has answered.
func TestRequestForALogThatIsNotAnsweredIsMadeAgain(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{silent: 1})
	e.write(c, "x")
	r.awaitLines(c.id, 1)
	require.GreaterOrEqual(t, e.logsRequests(c), 2)
	r.stop()
}

// A connection that was just opened can have missed a rotation, the first as well as each later one: it is looked at soon, however long
// quiet containers are left alone.
func TestDeadStreamIsFoundSoonAfterAReconnect(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.IdleCheckInterval = time.Hour })
	r.start()
	awaitUp(r)
	rotating := map[string]string{"max-size": "1m"}
	c := e.run(&fakeContainer{options: rotating, log: []fakeRecord{{at: time.Now(), text: "line 0\n"}}})
	st := func() *stream {
		box := r.receiver.(*containerLog).follower.get(c.id)
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.stream
	}
	r.awaitLines(c.id, 1)
	for i := 1; st().continuity.doubted.Load(); i++ {
		e.write(c, fmt.Sprintf("line %d", i))
		r.awaitLines(c.id, i+1)
	}
	other := e.run(&fakeContainer{options: rotating, log: []fakeRecord{{at: time.Now(), text: "other\n"}}})
	waitFor(t, "a look of the watchdog", func() bool { return e.logsRequests(other) == 2 })
	lines := len(c.log)
	e.change(func() { c.deaf = lines })
	resumes := r.metric("logcapture_resumes")
	e.server.CloseClientConnections()
	waitFor(t, "the next connection", func() bool { return r.metric("logcapture_resumes") > resumes && r.open(c.id) && e.openLogs(c) == 1 })
	e.write(c, "last")
	e.change(func() { c.deaf = 0 })
	r.awaitLines(c.id, lines+1)
	r.stop()
}

// What comes again of a connection is passed over though nothing of the budget is free.
func TestRepeatsWaitForNoBudget(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.MaxInflight = emit.MaxBatchBytes })
	b := newBlock()
	r.start()
	awaitUp(r)
	quiet, waits := e.run(&fakeContainer{}), e.run(&fakeContainer{})
	e.write(quiet, "one", "two")
	r.awaitLines(quiet.id, 2)
	r.consumer.Answer(b.answer)
	e.write(waits, strings.Repeat("x", emit.MaxBatchBytes))
	waitFor(t, "a delivery", func() bool { return b.waiting() > 0 })
	resumes := r.metric("logcapture_resumes")
	e.server.CloseClientConnections()
	waitFor(t, "the next connection", func() bool { return r.metric("logcapture_resumes") > resumes && e.openLogs(quiet) == 1 })
	asked := e.logsRequests(quiet)
	for began := time.Now(); time.Since(began) < 3*releaseAfter; time.Sleep(tickInterval) {
		require.Equal(t, asked, e.logsRequests(quiet), "it is closed and opened again")
	}
	b.open()
	e.write(quiet, "three")
	r.awaitLines(quiet.id, 3)
	r.awaitLines(waits.id, 1)
	require.Equal(t, []string{"one", "two", "three"}, r.bodies(quiet))
	r.stop()
}

// An engine that leaves out lines of each connection is not asked without a pause.
func TestLinesThatAreLeftOutAgainAndAgain(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	r.start()
	awaitUp(r)
	const lines, pause = 200, 5 * time.Millisecond
	c := e.run(&fakeContainer{options: map[string]string{"max-size": "1k"}, leaky: true, log: []fakeRecord{{at: time.Now(), text: "line 0\n"}}})
	r.awaitLines(c.id, 1)
	want := []string{"line 0"}
	began := time.Now()
	for i := 1; i < lines; i++ {
		want = append(want, fmt.Sprintf("line %d", i))
		e.write(c, want[i])
		time.Sleep(pause) // the pace of the container
	}
	e.change(func() { c.leaky = false })
	e.write(c, "end")
	r.awaitLines(c.id, lines+1)
	require.Equal(t, append(want, "end"), r.bodies(c))
	const each = 2 // to look back, and to open the log again
	require.LessOrEqual(t, e.logsRequests(c), 5+each*int(time.Since(began)/(50*time.Millisecond)))
	r.stop()
}

// Lines that the engine has and gives to no connection, as Docker 28 does with all that stands behind a damaged line in its file: they are
// told as lost, once.
func TestLinesThatTheEngineHidesAreTold(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.IdleCheckInterval = 200 * time.Millisecond })
	r.start()
	c := e.run(&fakeContainer{log: []fakeRecord{{at: time.Now(), text: "one\n"}}, deaf: 1})
	r.awaitLines(c.id, 1)
	e.write(c, "two", "three")
	r.awaitLines(c.id, 2)
	require.Equal(t, "container.log.gap", r.records(c.id)[1].Log.EventName())
	asked := e.logsRequests(c)
	waitFor(t, "more questions", func() bool { return e.logsRequests(c) > asked+3 })
	require.Equal(t, int64(1), r.metric("logcapture_gaps"))
	require.Len(t, r.records(c.id), 2)
	e.write(c, "more")
	r.awaitLines(c.id, 3)
	_, told := gapOf(t, r.records(c.id)[1])
	from, _ := gapOf(t, r.records(c.id)[2])
	require.Equal(t, told, from, "each line is told once")
	e.change(func() { c.deaf = 0 })
	e.write(c, "four")
	waitFor(t, "the last line", func() bool { bodies := r.bodies(c); return bodies[len(bodies)-1] == "four" })
	r.stop()
}

// A log that was truncated by hand, of an engine as Docker 28: what is written to it comes with the checks, also over a restart of ours.
func TestTruncatedLogWhoseEndIsNotGiven(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.IdleCheckInterval = 100 * time.Millisecond })
	r.start()
	c := e.run(&fakeContainer{options: map[string]string{"max-size": "1k"}})
	var want []string
	say := func(from, to int) {
		for i := from; i <= to; i++ {
			want = append(want, fmt.Sprintf("line %d", i))
			e.write(c, want[len(want)-1])
		}
	}
	say(1, 10)
	r.awaitLines(c.id, 10)
	e.change(func() { c.truncated = 10 })
	say(11, 20)
	r.awaitLines(c.id, 20)
	say(21, 30)
	r.awaitLines(c.id, 30)
	r.stop()
	say(31, 40)
	r.start()
	waitFor(t, "the last line", func() bool { bodies := r.bodies(c); return bodies[len(bodies)-1] == "line 40" })
	lines := slices.DeleteFunc(r.bodies(c), func(body string) bool { return strings.HasPrefix(body, "log lines between") }) // nobody knows what was cut off
	require.Equal(t, want, lines)
	r.stop()
}

// Row 17: a crash loop costs at most one request for logs for each start.
func TestCrashLoopIsNoBusyLoop(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{restart: "always"})
	waitFor(t, "its restart policy, without which each end is looked for", func() bool {
		box := r.receiver.(*containerLog).follower.get(c.id)
		return box != nil && box.state().restart
	})
	var want []string
	for i := range 50 {
		line := fmt.Sprintf("run %d", i)
		want = append(want, line)
		e.write(c, line)
		e.end(c, "restarting")
		time.Sleep(10 * time.Millisecond)
		e.restart(c)
	}
	r.awaitLines(c.id, 50)
	require.Equal(t, want, r.bodies(c))
	require.LessOrEqual(t, e.logsRequests(c), 51+1) // one for each start, and one look for the end of a run that had not started again yet
	before := e.logsRequests(c)
	e.end(c, "restarting") // and now it waits for a long time
	time.Sleep(5 * time.Second)
	require.LessOrEqual(t, e.logsRequests(c), before+2) // one more when the last start was not answered before
	r.stop()
}

// Row 52 and 53: what cannot be read is left alone.
func TestContainersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for status, most := range map[int]int{http.StatusNotImplemented: 1, http.StatusNotFound: 1, http.StatusConflict: 1} {
		e := newFakeEngine(t, nil)
		r := newFakeRig(t, e, func(c *Config) { c.ResyncInterval = 50 * time.Millisecond })
		r.start()
		c := e.run(&fakeContainer{driver: "none", status: status})
		other := e.run(&fakeContainer{})
		e.write(other, "x")
		r.awaitLines(other.id, 1)
		if status == http.StatusNotImplemented {
			e.end(c, "exited")
			e.restart(c)
		}
		time.Sleep(500 * time.Millisecond) // several lists later
		if status == http.StatusNotImplemented {
			require.Equal(t, most, e.logsRequests(c), status)
		}
		// Where it is not for good, each list is a new try.
		waitFor(t, "the end of its stream", func() bool { return r.metric("logcapture_containers_followed") == 1 })
		r.stop()
	}
}

// An engine that cannot do for now, or with its settings, what it is asked for: that is told once, and tried again.
func TestLogsThatTheEngineFailsToGive(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{status: http.StatusInternalServerError})
	e.write(c, "one")
	waitFor(t, "many tries", func() bool { return e.logsRequests(c) > 6 })
	require.Equal(t, 1, r.logs.FilterMessageSnippet("fails to give the log").Len())
	e.mu.Lock()
	c.status = 0
	e.mu.Unlock()
	r.awaitLines(c.id, 1)
	r.stop()
}

// Row 49: an engine that is replaced by a newer one that refuses the version negotiated before.
func TestVersionIsNegotiatedAgain(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, func(e *fakeEngine) { e.version = "1.41" })
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{})
	e.write(c, "old")
	r.awaitLines(c.id, 1)
	e.stop()
	e.version, e.minimum = "1.60", "1.44"
	e.start()
	e.write(c, "new")
	r.awaitLines(c.id, 2)
	require.Equal(t, []string{"old", "new"}, r.bodies(c))
	r.stop()
}

// Row 55: Podman's since is exclusive, its stamps have an offset, its event is "died", its pieces have stamps of their own.
func TestPodman(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, func(e *fakeEngine) { e.podman, e.version, e.minimum = true, "1.41", "1.24" })
	r := newFakeRig(t, e, nil)
	r.start()
	c := e.run(&fakeContainer{driver: "k8s-file"})
	at := time.Now()
	var want []string
	for i := range 100 {
		line := fmt.Sprintf("line %d", i)
		want = append(want, line)
		e.change(func() { c.log = append(c.log, fakeRecord{at: at, text: line + "\n"}) }) // all with one stamp
		if i%10 == 5 {
			r.awaitLines(c.id, i-3)
			r.stop()
			r.start()
		}
	}
	e.change(func() {
		c.log = append(c.log, fakeRecord{at: at.Add(1), text: "open "}, fakeRecord{at: at.Add(2), text: "line\n"}, fakeRecord{at: at.Add(3), text: "end"})
	})
	e.end(c, "exited")
	r.awaitLines(c.id, 102)
	require.Equal(t, append(want, "open line", "end"), r.bodies(c))
	require.Equal(t, "podman", r.records(c.id)[0].Resource["container.runtime.name"])
	require.Equal(t, at.UnixNano(), r.records(c.id)[0].Log.Timestamp().AsTime().UnixNano())
	r.stop()
}

func TestStartAtDuration(t *testing.T) {
	e := newFakeEngine(t, nil)
	now := time.Now()
	c := e.run(&fakeContainer{log: []fakeRecord{{at: now.Add(-2 * time.Hour), text: "old\n"}, {at: now.Add(-30 * time.Minute), text: "recent\n"}}})
	never := e.run(&fakeContainer{labels: map[string]string{"io.opentelemetry.logs/start_at": "end"}, log: []fakeRecord{{at: now.Add(-time.Minute), text: "recent\n"}}})
	r := newFakeRig(t, e, func(c *Config) { c.StartAt = "1h" })
	r.start()
	r.awaitLines(c.id, 1)
	e.write(c, "new")
	e.write(never, "new")
	r.awaitLines(c.id, 2)
	r.awaitLines(never.id, 1)
	require.Equal(t, []string{"recent", "new"}, r.bodies(c))
	require.Equal(t, []string{"new"}, r.bodies(never))
	r.stop()
}

// Row 41: a stored position that cannot be read costs repeats, also where start_at is end.
func TestDamagedPositionCostsRepeatsOnly(t *testing.T) {
	e := newFakeEngine(t, nil)
	c := e.run(&fakeContainer{})
	r := newFakeRig(t, e, func(c *Config) { c.StartAt = startAtEnd })
	r.start()
	awaitUp(r)
	e.write(c, "one", "two")
	r.awaitLines(c.id, 2)
	r.stop()
	client, err := r.host.GetExtensions()[capturetest.StorageID].(storage.Extension).GetClient(
		t.Context(), component.KindReceiver, component.NewID(metadata.Type), "")
	require.NoError(t, err)
	key := keyPrefix("FAKE") + c.id
	stored, err := client.Get(t.Context(), key)
	require.NoError(t, err)
	require.NotEmpty(t, stored)
	require.NoError(t, client.Set(t.Context(), key, []byte("nonsense")))
	require.NoError(t, client.Close(t.Context()))
	r.start()
	e.write(c, "three")
	r.awaitLines(c.id, 5)
	require.Equal(t, []string{"one", "two", "one", "two", "three"}, r.bodies(c))
	require.Positive(t, r.metric("logcapture_checkpoint_errors"))
	r.stop()
}
