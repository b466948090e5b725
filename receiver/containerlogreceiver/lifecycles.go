package containerlogreceiver

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/events"
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logcapture/logcapture/internal/emit"
)

// note is something that happened to a container, which becomes a record between the lines of its log.
type note struct {
	received time.Time
	record   emit.Record
}

const (
	// maxNotes bounds what is kept for a container whose lines cannot be delivered.
	maxNotes = 1000
	// noteAfter is how long a note waits for lines that belong before it.
	noteAfter = time.Second
)

// note takes an event of a container that is captured. What an inspect tells meanwhile counts: it is looked at again when the note is there.
func (f *follower) note(c *followed, message events.Message) {
	if !f.rules.lifecycles || !f.selected(c) {
		return
	}
	c.note(message)
	if !f.selected(c) {
		c.takeNotes(all)
	}
}

// note takes an event. The engine stamps it with the same clock as it does the lines.
func (c *followed) note(message events.Message) {
	action, detail, _ := strings.Cut(string(message.Action), ": ")
	n := note{received: time.Now(), record: emit.Record{Time: message.TimeNano}}
	attributes := pcommon.NewMap()
	switch action {
	case "start":
		n.record.Body = "container has started"
	case "die", "died":
		action = "die"
		code := message.Actor.Attributes["exitCode"]
		if code == "" {
			code = message.Actor.Attributes["containerExitCode"]
		}
		n.record.Body = "container has ended with exit code " + code
		if number, err := strconv.ParseInt(code, 10, 64); err == nil {
			attributes.PutInt("process.exit.code", number)
		}
		c.mu.Lock()
		if c.startedAt > 0 && message.TimeNano > c.startedAt {
			attributes.PutDouble("container.run.duration", time.Duration(message.TimeNano-c.startedAt).Seconds())
		}
		c.mu.Unlock()
	case "oom":
		n.record.Body = "container is out of memory"
	case "health_status":
		n.record.Body = "container is " + detail
		attributes.PutStr("container.health.status", detail)
	default:
		return
	}
	n.record.Event = &emit.Event{Name: "container." + action, Attributes: attributes}
	c.mu.Lock()
	defer c.mu.Unlock()
	if action == "start" {
		c.startedAt = message.TimeNano
	}
	if len(c.notes) < maxNotes {
		c.notes = append(c.notes, n)
	}
	c.noted.Store(true)
}

// takeNotes returns the notes for which due is true, up to the first for which it is not.
func (c *followed) takeNotes(due func(note) bool) (taken []note) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.notes) > 0 && due(c.notes[0]) {
		taken = append(taken, c.notes[0])
		c.notes = c.notes[1:]
	}
	c.noted.Store(len(c.notes) > 0)
	return taken
}

// addNotes puts notes into the batch.
func (st *stream) addNotes(s *session, due func(note) bool) {
	for _, n := range st.c.takeNotes(due) {
		if st.batch.Len() == 0 {
			st.source = st.f.sourceOf(st.c, s)
			st.batch.Observe(time.Now())
		}
		st.batch.Add(st.source, &n.record)
	}
}

func all(note) bool { return true }

// old says that no line that belongs before the note is still to come.
func old(n note) bool { return time.Since(n.received) > noteAfter }

// tidy is a short task for a container that is quiet: it ends records of several lines, and adds notes.
func (st *stream) tidy(ctx context.Context) {
	defer st.tidying.Store(false)
	st.work.Lock()
	defer st.work.Unlock()
	s := st.f.engine.current.Load()
	if !st.idle(time.Now(), st.f.config.ForceFlushPeriod) {
		return
	}
	if err := st.reserve(ctx, st.lines.Len()); err != nil {
		return
	}
	st.batch.Observe(time.Now())
	st.lines.FlushGroups()
	st.addNotes(s, old)
	_ = st.deliver(ctx) // fails only when the stream ends
}

// untidy says that there is something to do for tidy.
func (st *stream) untidy(now time.Time) bool {
	return (st.grouping.Load() || st.c.noted.Load()) && st.idle(now, st.f.config.ForceFlushPeriod) && !st.tidying.Swap(true)
}

// remark is a short task that delivers the notes of a container that is not being read.
func (f *follower) remark(ctx context.Context, c *followed) {
	s := f.engine.current.Load()
	source := f.sourceOf(c, s)
	batch := f.Sink.NewBatch()
	batch.Observe(time.Now())
	for _, n := range c.takeNotes(all) {
		batch.Add(source, &n.record)
	}
	_ = f.Sink.Consume(ctx, &batch) // fails only when everything ends
}
