package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/checkpoint"
	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/jsonfile"
	"github.com/logcapture/logcapture/internal/lifecycle"
)

// stream is the task that reads one container, from its start to its end. It reads what is there, delivers it, and only then waits for
// more. While a delivery waits, the ticker closes the connection: an engine loses lines of a connection that is not read.
type stream struct {
	f *follower
	c *followed

	lines      *dockerstream.Lines
	batch      emit.Batch
	source     *emit.Source
	held       int64           // bytes of the budget
	put        checkpoint.Mark // when its position was put last
	wait       backoff
	failures   int        // of the engine, since it gave the log last
	gaps       int64      // not counted yet
	own        chosen     // how it is captured
	starts     int        // of the container, when the log was opened
	continuity continuity // of the connection

	sure  bool // what came until the end is all there is: it was read from the file
	whole bool // as far as is known nothing remains to be read: the log was read to its end, or nothing has run since

	work      sync.Mutex                            // held while lines and batch are used: by the task, and by a short one when it is quiet
	grouping  atomic.Bool                           // lines wait for the end of their record
	tidying   atomic.Bool                           // the short task runs
	tidier    atomic.Pointer[func(context.Context)] // that task
	described chan struct{}                         // closed when the inspect is done, or not waited for any more
	late      atomic.Bool                           // the log is not opened before: the inspect has failed and is tried again
	behind    atomic.Int64                          // stamp of the first line that is not delivered; 0: all that is there is
	asked     atomic.Int64                          // when it was asked for, as [follower.elapsed]; 0: that is answered
	waiting   atomic.Int64                          // since when a delivery waits, as [follower.elapsed]; 0: none does
	bytes     atomic.Int64                          // that came
	rate      float64                               // of the ticker: bytes in a second, at the peak
	counted   int64                                 // of the ticker: bytes at the last tick
	active    atomic.Int64                          // when the log was opened or something came last, as [follower.elapsed]; 0: it is not open
	fed       atomic.Bool                           // a piece has come since it was opened
	last      atomic.Int64                          // stamp of the last piece
	tailless  atomic.Pointer[session]               // in it, the engine did not give the end of this log (see [errTailless])

	log     atomic.Pointer[jsonfile.Log] // while it is read from its file
	resting atomic.Bool                  // nothing has come to the file for some time
	told    bool                         // that it cannot be read from its file
	unseen  error                        // why no file can be read here; not told yet

	unclear         bool        // an inspect has to tell whether the container is captured
	undescribed     atomic.Bool // it is read without the inspect
	toldUndescribed atomic.Bool
	inspecting      *lifecycle.Task // guarded by the lock of the container; nil: none is needed

	mu    sync.Mutex
	abort context.CancelCauseFunc // of the connection
}

var (
	errReleased = errors.New("closed while a delivery waits")
	errEnded    = errors.New("the log has ended")
	errGone     = errors.New("the container is gone")
	errSilent   = errors.New("the engine has not answered a request for a log")
)

// follow starts reading a container that is not being read.
func (f *follower) follow(c *followed, s *session) {
	st := &stream{f: f, c: c, batch: f.Sink.NewBatch(), described: make(chan struct{}), whole: true}
	st.late.Store(f.engine.ssh != nil) // to open a connection takes longer than to ask on one that is open
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream = st
	known := c.about.inspected
	st.unclear = f.rules.selection.needsInspect(&c.about)
	if known {
		close(st.described)
	}
	name := c.about.name
	if name == "" {
		name = c.id
	}
	c.task = f.Go("stream", name, st.run)
	if !known {
		st.inspecting = f.Go("inspect", name, func(ctx context.Context) { st.describe(ctx, s) })
	}
}

// run reads the container until its run is over and all of it is delivered.
func (st *stream) run(ctx context.Context) {
	defer st.giveBack()
	tidy := func(context.Context) { st.tidy(ctx) } // not longer than the stream, which waits for it
	st.tidier.Store(&tidy)
	st.work.Lock()
	ready := st.chosen(ctx)
	if ready {
		st.lines = dockerstream.NewLines(st.rules(), st.window(ctx))
		st.lines.Emit, st.lines.Gap = st.emit, st.gap
	}
	if ready && st.own.history >= 0 && st.c.stored() == nil {
		st.keep() // else it would begin at the next start, not at this one, as long as nothing comes
	}
	st.work.Unlock()
	if !ready {
		return
	}
	for ctx.Err() == nil {
		if st.f.awaitUp(ctx) != nil {
			return
		}
		s := st.f.engine.current.Load()
		err := st.round(ctx, s)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, errDead):
			if to := st.continuity.hidden.Swap(0); to > 0 {
				_ = st.tellHidden(ctx, s, to) // fails only when everything ends
			}
		case errors.Is(err, errReleased):
		case errors.Is(err, errSkipped): // an engine may do so again and again, and each request costs it
			_ = st.c.awaitChange(ctx, st.wait.next())
		case errdefs.IsNotImplemented(err):
			st.refused(err)
			return
		case errors.Is(err, errEnded), errors.Is(err, errGone):
			if st.finish(ctx, errors.Is(err, errGone)) {
				return
			}
		default:
			st.tellInterrupted(err)
			_ = st.c.awaitChange(ctx, st.wait.next())
		}
	}
}

// tellInterrupted tells of what passes by itself, and louder of what does not: Podman, for one, refuses to follow a log in the journal when it
// keeps its events elsewhere.
func (st *stream) tellInterrupted(err error) {
	const many = 5
	if errdefs.IsInternal(err) {
		if st.failures++; st.failures == many {
			st.f.Logger.Warn("The engine fails to give the log of a container; it is asked again", zap.String("container", st.c.id), zap.Error(err))
			return
		}
	}
	st.f.Logger.Debug("Reading a container is interrupted", zap.String("container", st.c.id), zap.Error(err))
}

// chosen finds out how the container is to be captured, and whether it is.
func (st *stream) chosen(ctx context.Context) bool {
	st.c.mu.Lock()
	unclear := st.f.rules.selection.needsInspect(&st.c.about)
	st.c.mu.Unlock()
	for unclear {
		select {
		case <-st.described:
			unclear = false
		case <-st.c.changed:
			unclear = !st.c.state().gone
		case <-ctx.Done():
			return false
		}
	}
	if !st.f.selected(st.c) { // also where the inspect was quick: it may tell more than was known when the stream was started
		st.c.takeNotes(all)
		st.c.mu.Lock()
		defer st.c.mu.Unlock()
		st.c.settled = true
		return false
	}
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.own, _ = st.f.rules.overrides.override(st.c.about.labels, st.f.rules.byDefault) // errors were told before
	return true
}

// giveBack is for a stream that is stopped with something in hand.
func (st *stream) giveBack() {
	st.work.Lock()
	st.release()
	st.work.Unlock()
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.c.stream == st {
		st.c.stream = nil
	}
	if st.inspecting != nil {
		st.inspecting.Cancel()
	}
}

func (st *stream) rules() dockerstream.Rules {
	rules := dockerstream.Rules{
		MaxSize:    int(st.f.config.MaxLogSize),
		DropRest:   st.f.config.MaxLogSizeBehavior == behaviorTruncate,
		FlushAfter: int64(st.f.config.ForceFlushPeriod),
	}
	if start := st.own.multiline.start; start != nil {
		rules.Starts = start.Match
	}
	if end := st.own.multiline.end; end != nil {
		rules.Ends = end.Match
	}
	return rules
}

// window returns where to go on.
func (st *stream) window(ctx context.Context) dockerstream.Window {
	position := st.c.stored()
	if position != nil {
		w, err := dockerstream.ParseWindow(position)
		if err == nil {
			return w
		}
		st.f.Telemetry.LogcaptureCheckpointErrors.Add(ctx, 1, st.f.Attributes)
		return dockerstream.Window{} // repeats, but skips nothing
	}
	st.c.mu.Lock()
	before := st.c.before
	st.c.mu.Unlock()
	if before.IsZero() || st.own.history < 0 {
		return dockerstream.Window{}
	}
	return dockerstream.From(before.Add(-st.own.history).UnixNano())
}

// round opens the log, reads until the connection ends, and finds out why it did. nil means: go on.
func (st *stream) round(ctx context.Context, s *session) error {
	now := st.c.state()
	fresh := now.starts != st.starts // of this run nothing was read
	st.starts = now.starts
	st.whole = st.whole && !fresh
	if fresh {
		st.tailless.Store(nil)
	}
	if now.gone {
		return errGone
	}
	if !now.running && !fresh {
		return st.readEnded(ctx, s)
	}
	st.whole = false
	err := st.read(ctx, s, true)
	if !errors.Is(err, io.EOF) {
		return refine(err)
	}
	last, err := st.settle(ctx, s)
	err = refine(err)
	switch {
	case errors.Is(err, errGone):
		return err
	case err != nil:
		st.whole = false
		return err
	case last.running:
		st.whole = false
		if last.began > st.continuity.opened.Load() && st.startsAgain(ctx, time.Second) {
			return nil // it had started again before the event of that came
		}
		return errors.New("the connection was closed while the container runs")
	}
	if !st.sure {
		// The end of a connection says nothing: the engine drops what a container wrote at its end while it was still sending older lines, and
		// mostly also text without a line feed, which it stores as the last. A container that starts again is asked then; else it is asked now.
		const soon = 3 * time.Second
		if now.restart && st.startsAgain(ctx, soon) {
			return nil
		}
		err := st.readEnded(ctx, s)
		if st.last.Load() < last.began && st.leftDead(ctx, s) {
			st.whole = false
			return errGone
		}
		return err
	}
	st.endRun(last.began)
	return errEnded
}

// readEnded reads the log of a container that does not run, if that was not done before.
func (st *stream) readEnded(ctx context.Context, s *session) error {
	last, err := st.condition(ctx, s)
	if err != nil {
		return refine(err)
	}
	if last.running {
		st.c.started() // its event was missed
		return nil
	}
	if last.began == 0 || last.began != unknown && st.lines.Window().Read() == last.began {
		return errEnded
	}
	if err := st.readThere(ctx, s); !errors.Is(err, io.EOF) {
		return refine(err)
	}
	if late, err := st.awaitJournal(ctx); err != nil {
		return err
	} else if late {
		if err := st.readThere(ctx, s); !errors.Is(err, io.EOF) {
			return refine(err)
		}
	}
	st.endRun(last.began)
	return errEnded
}

// readThere reads what there is.
func (st *stream) readThere(ctx context.Context, s *session) error {
	if err := st.f.ended.Acquire(ctx, 1); err != nil {
		return err
	}
	defer st.f.ended.Release(1)
	return st.read(ctx, s, false)
}

// endRun says that the run that began then was read to its end.
func (st *stream) endRun(began int64) {
	st.work.Lock()
	defer st.work.Unlock()
	st.batch.Observe(time.Now())
	st.lines.Flush()
	if began != unknown {
		st.lines.Window().SetRead(began)
	}
}

// startOf returns when the last run began, in Unix nanoseconds; 0: it has never run.
func startOf(info container.InspectResponse) int64 {
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	if err != nil || started.Year() < 1970 {
		return 0
	}
	return started.UnixNano()
}

// settle waits for the event that explains the end of a connection, which comes a little later, and asks.
func (st *stream) settle(ctx context.Context, s *session) (condition, error) {
	const little = 250 * time.Millisecond
	for deadline := time.Now().Add(little); st.c.state().running && time.Now().Before(deadline); {
		if err := st.c.awaitChange(ctx, time.Until(deadline)); err != nil {
			return condition{}, err
		}
	}
	return st.condition(ctx, s)
}

// startsAgain waits for a start that is not known yet.
func (st *stream) startsAgain(ctx context.Context, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for st.c.state().starts == st.starts {
		left := time.Until(deadline)
		if left <= 0 {
			return false
		}
		if st.c.awaitChange(ctx, left) != nil {
			return true // the end: nothing more is asked
		}
	}
	return true
}

// refine tells a container that is gone from an engine that has trouble.
func refine(err error) error {
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return err
}

// refused notes that the engine cannot read this log, now or later: the log driver of the container keeps nothing.
func (st *stream) refused(err error) {
	st.f.Logger.Warn("The log of a container cannot be read; it is left alone", zap.String("container", st.c.id), zap.Error(err))
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.c.refused = true
}
