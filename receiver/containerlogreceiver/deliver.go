package containerlogreceiver

import (
	"context"
	"time"

	"github.com/logcapture/logcapture/internal/dockerstream"
)

// finish delivers what is left and ends the stream, unless the container has started again meanwhile.
func (st *stream) finish(ctx context.Context, gone bool) bool {
	if gone && !st.whole && !st.goneForGood(ctx) {
		_ = st.c.awaitChange(ctx, st.wait.next())
		return false
	}
	st.work.Lock()
	defer st.work.Unlock()
	if gone {
		st.batch.Observe(time.Now())
		st.lines.Flush()
	}
	st.addNotes(st.f.engine.current.Load(), all)
	if gone && !st.whole {
		st.endLost(ctx)
	}
	if err := st.deliver(ctx); err != nil {
		return true
	}
	st.lines.Commit()
	st.keep()
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if st.c.starts != st.starts && !st.c.gone {
		return false
	}
	st.c.stream = nil
	st.c.settled = true
	if st.c.gone {
		st.f.removed(st.c)
	}
	return true
}

// goneForGood says that it is the container's own engine that does not know it any more. Another one can have come to its address, and
// is asked for the log before it is known who it is.
func (st *stream) goneForGood(ctx context.Context) bool {
	if st.removedSoon(ctx) {
		return true
	}
	id, err := st.f.engine.current.Load().whoAnswers(ctx)
	return err == nil && st.c.key == keyPrefix(id)+st.c.id
}

// leftDead says that the engine has failed to remove a container that it was to remove at its end. Docker 20.10 does so where the log is asked
// for at that very moment: it answers with a new log that is empty, over which the removal fails. What the container wrote is gone then.
func (st *stream) leftDead(ctx context.Context, s *session) bool {
	st.c.mu.Lock()
	removed := st.c.about.removed
	st.c.mu.Unlock()
	if !removed || st.removedSoon(ctx) {
		return false
	}
	last, err := st.condition(ctx, s)
	return err == nil && last.dead
}

// removedSoon waits for the event of the container's removal.
func (st *stream) removedSoon(ctx context.Context) bool {
	const soon = time.Second
	for deadline := time.Now().Add(soon); !st.c.state().gone; {
		left := time.Until(deadline)
		if left <= 0 || st.c.awaitChange(ctx, left) != nil {
			return false
		}
	}
	return true
}

// keep stores the position.
func (st *stream) keep() {
	st.f.keep(st.c, st.lines.Window())
	st.put = st.f.Store.Mark()
}

// keep stores the position of a container.
func (f *follower) keep(c *followed, w *dockerstream.Window) {
	position := w.AppendBinary(nil)
	c.mu.Lock()
	c.position = position
	c.mu.Unlock()
	f.Store.Put(c.key, position)
}

// deliver gives the batch to the pipeline and stores the position when that has taken it. It waits as long as it has to.
func (st *stream) deliver(ctx context.Context) error {
	st.grouping.Store(st.lines.Grouping())
	if st.batch.Len() == 0 {
		st.release()
		return nil
	}
	st.waiting.CompareAndSwap(0, st.f.elapsed(time.Now()))
	defer st.waiting.Store(0)
	if err := st.f.Store.Sync(ctx, st.put); err != nil {
		return err
	}
	if err := st.f.Sink.Consume(ctx, &st.batch); err != nil {
		return err
	}
	st.lines.Commit()
	st.keep()
	st.batch.Reset()
	st.release()
	st.wait.reset()
	return nil
}

// deliverAll is deliver where nothing more is known to wait.
func (st *stream) deliverAll(ctx context.Context) error {
	err := st.deliver(ctx)
	if err == nil {
		st.behind.Store(0)
	}
	return err
}

// reserve takes from the budget what a batch may need.
func (st *stream) reserve(ctx context.Context, n int) (err error) {
	if st.held > 0 {
		return nil
	}
	st.waiting.Store(st.f.elapsed(time.Now()))
	st.held, err = st.f.Budget.Acquire(ctx, int64(n))
	return err
}

func (st *stream) release() {
	if st.held > 0 {
		st.f.Budget.Release(st.held)
		st.held = 0
	}
	st.waiting.Store(0)
}
