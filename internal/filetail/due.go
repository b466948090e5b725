package filetail

import (
	"context"
	"time"
)

// dueShare is how many looks for what is due there are in the time that something is waited for.
const dueShare = 8

// due returns when a file, the read of which had an error or not, has something that will have waited for too long, the zero time for never.
func (r *reader) due(f *file, err error) (at time.Time) {
	if f.joiner != nil {
		at = f.joiner.Due()
	}
	// What is left of a line when its time was over cannot be taken alone, and what cannot be read not at all.
	if wait := r.engine.Text.FlushPeriod; wait > 0 && r.engine.rawLines() && f.partial > 0 && err == nil && !r.waited {
		if line := f.grew.Add(wait); at.IsZero() || line.Before(at) {
			at = line
		}
	}
	return at
}

// flush has files read that have something which has waited for too long, until ctx ends.
func (e *Engine) flush(ctx context.Context) {
	interval := min(e.rules.LineWait, orphanWait)
	if e.Text.FlushPeriod > 0 {
		interval = e.Text.FlushPeriod
	}
	ticker := time.NewTicker(max(interval/dueShare, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			e.touchDue(now)
		}
	}
}

func (e *Engine) touchDue(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for f, at := range e.due {
		if !now.Before(at) {
			delete(e.due, f)
			e.touchLocked(f)
		}
	}
}

// dueLocked notes when a file that is given back has to be read though nothing has come.
func (e *Engine) dueLocked(f *file) {
	if f.due.IsZero() {
		delete(e.due, f)
	} else {
		e.due[f] = f.due
	}
}
