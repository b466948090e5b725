package containerlogreceiver

import (
	"context"
	"errors"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/internal/lifecycle"
)

var errDead = errors.New("the engine has newer lines than the connection gave")

// checks are what the watchdog knows of a stream.
type checks struct {
	at     time.Time
	wait   time.Duration // until the next one
	opened int64         // the connection for which that holds
	closed bool          // that was the end of the one before
	// The connection was closed because it ended with the line of the first stamp, and the engine had that of the second. Lines up to told
	// were told as lost.
	before, newest, told int64
}

// watch is the task that asks, for containers that are quiet, whether they really are: a connection can be dead without an end (a log
// that was truncated under the engine, packets that are dropped), and then the engine has newer lines than were read. One that was
// just opened can have missed a rotation; so it is asked for soon.
func (f *follower) watch(ctx context.Context) {
	const soon = time.Second
	interval := f.config.IdleCheckInterval
	pause := min(interval/4, time.Second)
	checked := make(map[*stream]*checks)
	for lifecycle.Sleep(ctx, pause) == nil {
		present := make(map[*stream]bool)
		for _, c := range f.all() {
			c.mu.Lock()
			st, running := c.stream, c.running
			c.mu.Unlock()
			if st == nil || !running || st.log.Load() != nil {
				continue
			}
			present[st] = true
			k := checked[st]
			if k == nil {
				k = &checks{wait: soon}
				checked[st] = k
			}
			if opened := st.continuity.opened.Load(); opened != k.opened {
				if k.opened = opened; !k.closed { // else an engine that gives nothing new would be asked all the time
					k.wait = soon
				}
				k.closed = false
			}
			if !st.continuity.doubted.Load() {
				k.wait = interval
			}
			k.wait = min(k.wait, interval)
			if now := time.Now(); st.quiet(now, k.wait) && now.Sub(k.at) >= k.wait {
				k.at, k.wait = now, 2*k.wait
				f.check(ctx, st, k)
			}
		}
		for st := range checked {
			if !present[st] {
				delete(checked, st)
			}
		}
	}
}

// elapsed returns the nanoseconds from the receiver's start to a moment, by the clock that nobody sets: what waits must not wait for a
// day more where the other clock is set back by one. It is never 0.
func (f *follower) elapsed(to time.Time) int64 { return int64(to.Sub(f.began)) + 1 }

// quiet says that nothing came on a connection for so long. Before the first piece it may take an engine minutes to find it in a long log.
func (st *stream) quiet(now time.Time, d time.Duration) bool {
	const longer = 20
	return st.idle(now, d) && (st.fed.Load() || st.idle(now, longer*d))
}

// idle says that a connection is open, and that nothing came on it for so long.
func (st *stream) idle(now time.Time, d time.Duration) bool {
	since := st.active.Load()
	return since > 0 && st.f.elapsed(now)-since >= int64(d) && st.waiting.Load() == 0
}

// check asks for the newest piece of a container's log and closes the connection if that did not give it. What two connections did not give is
// told as lost.
func (f *follower) check(ctx context.Context, st *stream, k *checks) {
	const late = 500 * time.Millisecond // a line may just be on its way
	s := f.engine.current.Load()
	before := st.last.Load()
	newest, err := st.newest(ctx, s)
	if err != nil || newest <= before {
		return // what is wrong with the engine shows elsewhere
	}
	if lifecycle.Sleep(ctx, late) != nil || st.last.Load() != before || st.waiting.Load() != 0 {
		return
	}
	again := k.before == before // the next connection did not give it either
	switch {
	case again && k.told < k.newest:
		st.continuity.hidden.Store(k.newest)
		k.told = k.newest
	case again && newest == k.newest:
		return
	}
	k.before, k.newest, k.wait, k.closed = before, newest, f.config.IdleCheckInterval, true
	st.close(errDead)
}

// newest returns the stamp of the last piece of a container's log, 0 where there is none, or none behind the last one that came.
func (st *stream) newest(ctx context.Context, s *session) (newest int64, err error) {
	take := func(p dockerstream.Piece) bool {
		newest = max(newest, p.Stamp)
		return true
	}
	err = st.look(ctx, s, container.LogsOptions{Tail: "1"}, take)
	if errors.Is(err, errTailless) {
		err = st.look(ctx, s, container.LogsOptions{Tail: allOfIt, Since: engineTime(st.last.Load())}, take)
	}
	return newest, err
}
