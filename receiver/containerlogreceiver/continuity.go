package containerlogreceiver

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockerstream"
)

// continuity looks for lines that the engine leaves out of a connection. It opens the files of a log, sends what they have, and only then
// watches for rotations: of those that came meanwhile it learns with the next one, and goes on with the newest file then, without those
// between. Later it does so when the log rotates twice while it is not looking.
//
// What is left out is at least one whole file. So lines can be missing only between two stamps that are as far apart as it takes to fill
// one; there the engine is asked whether it has anything between the two. Only the task of the stream uses it, but for what is
// atomic.
type continuity struct {
	size    int64 // bytes at which the log rotates; 0: nothing is left out
	since   int64 // older pieces were not asked for
	done    int64 // pieces up to here were delivered before
	watched int64 // by the engine's clock: from here on rotations were watched for; 0: not known yet
	last    mark  // the piece before

	begun, bytes, rate int64 // what has come since this stamp; and before, in a second

	opened  atomic.Int64 // by the engine's clock: what is older is in the files that were opened
	doubted atomic.Bool  // what is written now may go to a file that the engine does not look at

	// Of all connections: stamp of the newest line that the engine has and does not give, 0 for none; and behind which line, and up to where,
	// lines were told as lost.
	hidden       atomic.Int64
	behind, told int64
}

// mark tells a piece from its neighbours.
type mark struct {
	stamp  int64
	stream dockerstream.Stream
	size   int
}

func markOf(p dockerstream.Piece) mark { return mark{p.Stamp, p.Stream, len(p.Text)} }

var errSkipped = errors.New("the engine has left out lines")

// fastest is more bytes in a second than an engine writes.
const fastest = 100 << 20

// begin is for a connection that was just opened; now is the engine's time. Where the log does not rotate, nothing is looked for.
func (c *continuity) begin(size int64, w *dockerstream.Window, now int64) {
	c.since, _ = w.Since()
	c.size, c.done, c.watched = size, w.Newest(), 0
	c.opened.Store(now)
	c.last, c.begun, c.bytes, c.rate = mark{}, 0, 0, 0
	c.doubted.Store(size > 0)
}

// doubtful says that a whole file can be missing before the piece.
func (c *continuity) doubtful(p dockerstream.Piece) bool {
	if c.size == 0 || c.last == (mark{}) || p.Stamp <= c.opened.Load() {
		return false
	}
	speed := int64(fastest)
	if !c.doubted.Load() {
		speed = 2 * max(c.rate, perSecond(c.bytes, c.last.stamp-c.begun))
	}
	jump := p.Stamp - c.last.stamp
	return jump > 0 && jump/int64(time.Microsecond) >= c.size*int64(time.Second/time.Microsecond)/max(speed, 1)
}

func perSecond(bytes, nanos int64) int64 {
	return bytes * 1000 / max(nanos/int64(time.Millisecond), 100)
}

// add takes a piece before which nothing is missing. It reports whether rotations are watched for from now on.
func (c *continuity) add(p dockerstream.Piece) (watched bool) {
	if c.size == 0 || p.Stamp < c.since { // some engines give those too
		return false
	}
	c.last = markOf(p)
	c.bytes += int64(len(p.Text)) + stored
	if d := p.Stamp - c.begun; d > int64(time.Second) || d < 0 {
		c.rate = max(perSecond(c.bytes, d), c.rate/2)
		c.begun, c.bytes = p.Stamp, 0
	}
	switch {
	case !c.doubted.Load() || p.Stamp <= c.opened.Load():
	case c.watched == 0:
		return true // it is no history, and has come
	case p.Stamp > c.watched:
		c.doubted.Store(false) // it was written to the file that is looked at
	}
	return false
}

// toldBehind returns up to where lines were told as lost behind the last one that has come, which has the stamp given; 0 for none.
func (c *continuity) toldBehind(last int64) int64 {
	if last != c.behind {
		return 0
	}
	return c.told
}

// now returns the time by the engine's clock. Of an engine elsewhere it is not known exactly, but rather too late.
func (st *stream) now(s *session) int64 {
	if st.f.engine.address.local() {
		return time.Now().UnixNano()
	}
	const inexact = 250 * time.Millisecond
	return s.clock.Add(time.Since(s.asked) + inexact).UnixNano()
}

// watchOver begins to look for lines that a connection leaves out.
func (st *stream) watchOver(s *session, follow bool) {
	st.c.mu.Lock()
	size, removed := st.c.about.rotation, st.c.about.removed
	st.c.mu.Unlock()
	if !follow || s.podman || removed { // Docker 20.10 may fail to remove a container whose log is asked for at its end
		size = 0
	}
	st.continuity.begin(size, st.lines.Window(), st.now(s))
}

// skipped looks whether lines are missing before the piece. What a new connection gives is got by one; what none gives is told as lost.
func (st *stream) skipped(ctx context.Context, s *session, p dockerstream.Piece) error {
	c := &st.continuity
	if c.doubtful(p) {
		last := max(c.last.stamp, c.done)
		missing, err := st.missing(ctx, s, c.last, markOf(p), max(c.done, c.toldBehind(last)))
		switch {
		case err != nil:
			return err
		case missing == inReach:
			return errSkipped
		case missing == outOfReach:
			st.unreadable(ctx, last, p.Stamp)
		}
	}
	if c.add(p) { // few pieces: to ask for the time costs more than all else here
		c.watched = st.now(s)
	}
	return nil
}

// missing is what the engine has between two pieces of which it sent one after the other.
type missing uint8

const (
	nothing    missing = iota
	inReach            // lines that a request for all from the first piece on gives
	outOfReach         // lines behind a damaged one, at which such a request ends
)

// missing asks the engine what it has between two pieces, that is newer than done. What cannot be found any more counts as nothing.
func (st *stream) missing(ctx context.Context, s *session, before, next mark, done int64) (missing, error) {
	st.waiting.CompareAndSwap(0, st.f.elapsed(time.Now())) // the connection is not read meanwhile
	if err := st.f.lookBacks.Acquire(ctx, 1); err != nil {
		return nothing, err
	}
	defer st.f.lookBacks.Release(1)
	more := false
	for _, tail := range []string{"64", "4096", "32768", allOfIt} {
		e, err := st.lookBack(ctx, s, tail, before, next)
		switch {
		case errors.Is(err, errTailless):
			continue
		case errors.Is(refine(err), errGone): // it is being removed: the connection has all that there still is
			return nothing, nil
		case err != nil:
			return nothing, err
		case e.next && (e.last == before || e.last != mark{} && e.last.stamp <= done):
			return nothing, nil
		case e.next && e.before:
			return inReach, nil
		case e.next:
			more = e.last != mark{}
			if tail == allOfIt && more {
				return inReach, nil // the first one was rotated away
			}
		}
	}
	if more {
		return outOfReach, nil
	}
	return nothing, nil
}

const allOfIt = "all"

// ending is what the end of a log has up to a piece that was looked for.
type ending struct {
	before, next bool // the pieces are in it
	last         mark // the piece before next; zero: none
}

// lookBack reads the end of the log up to the second of two pieces.
func (st *stream) lookBack(ctx context.Context, s *session, tail string, before, next mark) (e ending, err error) {
	err = st.look(ctx, s, container.LogsOptions{Tail: tail}, func(p dockerstream.Piece) bool {
		here := markOf(p)
		e.next = here == next
		if !e.next && here.stamp >= st.continuity.since {
			e.last = here
			e.before = e.before || here == before
		}
		return !e.next
	})
	return e, err
}

// errTailless says that an engine did not answer who asks for the end of a log. Docker 28 looks for it where it would be, had a log not been
// truncated, and finds nothing, until the log is opened anew; who asks for all of it gets what there is.
var errTailless = errors.New("the engine does not give the end of the log")

// look asks for the log once more, and reads it up to the piece for which more returns false.
func (st *stream) look(ctx context.Context, s *session, options container.LogsOptions, more func(dockerstream.Piece) bool) error {
	const (
		soon = 5 * time.Second // a tail is quick
		rest = 64 << 10        // is read too, for the connection is of use again when an answer was read to its end
	)
	limit, tail := callTimeout, options.Tail != allOfIt && !s.oldAPI
	if tail {
		limit = soon
		if st.tailless.Load() == s {
			return errTailless
		}
	}
	request, done, err := s.call(ctx, limit)
	if err != nil {
		return err
	}
	defer done()
	options.ShowStdout, options.ShowStderr, options.Timestamps = st.own.stdout, st.own.stderr, true
	body, err := logs(request, s.Client, st.c.id, options)
	if err == nil {
		defer body.Close()
		for decoder, goesOn := dockerstream.NewDecoder(body), true; goesOn && err == nil; {
			var piece dockerstream.Piece
			var message *dockerstream.EngineError
			if piece, err = decoder.Next(); err == nil {
				if goesOn = more(piece); !goesOn {
					_, _ = io.CopyN(io.Discard, body, rest)
				}
			} else if errors.Is(err, io.EOF) || errors.As(err, &message) {
				return nil
			}
		}
	}
	if tail && request.Err() != nil && ctx.Err() == nil {
		st.tailless.Store(s)
		return errTailless
	}
	return err
}

// unreadable tells of lines that are in the engine's file and that it does not give: behind a damaged line, it does not see them.
func (st *stream) unreadable(ctx context.Context, from, to int64) {
	st.f.Logger.Warn("The engine does not give all lines of a container; its file is probably damaged", zap.String("container", st.c.id))
	st.gap(from, to)
	st.countGaps(ctx)
}

// tellHidden is for lines that the engine has and did not give to two connections, up to the stamp given.
func (st *stream) tellHidden(ctx context.Context, s *session, to int64) error {
	st.work.Lock()
	defer st.work.Unlock()
	if to <= st.last.Load() {
		return nil // it has come meanwhile
	}
	if err := st.reserve(ctx, 0); err != nil {
		return err
	}
	st.source = st.f.sourceOf(st.c, s)
	st.batch.Observe(time.Now())
	st.unreadable(ctx, st.last.Load(), to)
	return st.deliver(ctx)
}
