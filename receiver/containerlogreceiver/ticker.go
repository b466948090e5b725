package containerlogreceiver

import (
	"context"
	"errors"
	"time"
)

const (
	tickInterval = 100 * time.Millisecond
	// endedAfter is how long after the end of a container its connection may stay open without anything coming.
	endedAfter = 10 * time.Second
)

var errStuck = errors.New("the engine does not end the log of a container that has ended")

// tick is the task that looks after all streams; none of them has a timer.
func (f *follower) tick(ctx context.Context) {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, c := range f.all() {
				f.look(c, now)
			}
		}
	}
}

// look does for a container what is due.
func (f *follower) look(c *followed, now time.Time) {
	c.mu.Lock()
	st, running, died, name := c.stream, c.running, c.died, c.about.name
	settled := c.settled || c.refused
	c.mu.Unlock()
	if st == nil {
		if settled && c.noted.Load() {
			f.Go("note", name, func(ctx context.Context) { f.remark(ctx, c) })
		}
		return
	}
	if st.untidy(now) {
		f.Go("flush", name, *st.tidier.Load())
	}
	if log := st.log.Load(); log != nil {
		if !st.resting.Load() {
			log.Look()
		}
		return // there is no connection
	}
	if since := st.asked.Load(); since > 0 && st.f.elapsed(now)-since > int64(callTimeout) {
		st.close(errSilent)
	}
	patience := st.patience()
	if since := st.waiting.Load(); since > 0 && st.f.elapsed(now)-since > int64(patience) {
		st.close(errReleased)
	}
	if !running && !died.IsZero() && now.Sub(died) > endedAfter && st.idle(now, endedAfter) {
		st.close(errStuck)
	}
}

// patience returns how long a delivery may wait before the connection is closed: less where the log of the container rotates fast, for
// an engine skips what rotates twice while a connection is not read. Only the ticker calls it, at each tick.
func (st *stream) patience() time.Duration {
	const decay = 0.95
	n := st.bytes.Load()
	st.rate = max(float64(n-st.counted)/tickInterval.Seconds(), st.rate*decay)
	st.counted = n
	st.c.mu.Lock()
	size := float64(st.c.about.rotation)
	st.c.mu.Unlock()
	if size == 0 || st.rate*releaseAfter.Seconds() <= size {
		return releaseAfter
	}
	return max(tickInterval, time.Duration(size/st.rate*float64(time.Second)))
}
