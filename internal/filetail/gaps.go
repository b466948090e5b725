package filetail

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/lineformat"
)

// gap tells of text that was lost before it could be read.
func (e *Engine) gap(f *file, what string, fields ...zap.Field) {
	e.gaps.Add(1)
	e.Logger.Error(what, append(fields, zap.String("path", f.name))...)
}

// countGaps adds those that were told since the last time to the metric.
func (e *Engine) countGaps(ctx context.Context) {
	if n := e.gaps.Swap(0); n > 0 {
		e.Telemetry.LogcaptureGaps.Add(ctx, n, e.Attributes)
	}
}

// lose tells of what a file held that is gone while it was closed, if not all of it was delivered. It had the size when it was looked at last.
func (e *Engine) lose(f *file, size int64) {
	p, open := &f.place, false
	switch {
	case f.begun:
	case f.stored != nil:
		p = f.stored
		open = p.open != ""
	case f.atEnd:
		p = &position{offset: f.limit}
	}
	unread := size - p.offset
	if f.packed { // it is not known how much content there is
		if unread = size; p.packed == size {
			unread = 0
		}
	}
	if unread > 0 || open {
		e.gap(f, "A file is gone before it was read to its end", zap.Int64("unread_bytes", max(0, unread)))
	}
}

// flushGone delivers what is open of a file that is gone, and cannot be read.
func (r *reader) flushGone(f *file) {
	f.beginGone()
	if f.joiner == nil && f.inherited == nil {
		return
	}
	r.file, r.records = f, 0
	r.joinerOf(f, time.Now()).FlushAll()
	f.place.number += int64(r.records)
}

// beginGone begins with a file that cannot be read and of which nothing was read, where its position has what others have left to it.
func (f *file) beginGone() {
	if f.begun || f.stored == nil || !f.stored.onlyText() {
		return
	}
	open, _, err := lineformat.DecodeOpen([]byte(f.stored.open))
	if err != nil {
		return // it was checked when the position was
	}
	f.place, f.begun = *f.stored, true
	f.saved, f.savedAt, f.savedOpen = 0, f.place.at, f.place.open
	f.inherited = append(open, f.inherited...)
}

// leave says that a file which is gone, and is not known to be what, can be ended: what it has taken over is given back, or delivered.
func (r *reader) leave(f *file) bool {
	e := r.engine
	e.mu.Lock()
	var to *file
	for _, from := range f.testators {
		if !from.retired {
			to = from
		}
	}
	passed := slices.ContainsFunc(f.successors, func(s successor) bool { return !s.file.reading })
	e.mu.Unlock()
	if passed {
		return true
	}
	if to != nil {
		if given, busy := e.giveBack(f, to); given || busy {
			return given
		}
	}
	r.flushGone(f)
	return true
}
