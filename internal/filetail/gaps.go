package filetail

import (
	"context"
	"path/filepath"
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

// loss is what was not delivered of a file that is gone.
type loss struct {
	file     *file // which is ended
	path     string
	place    position // up to which it was read
	modified time.Time
	unread   int64
}

// loseLocked tells of what a file held that is gone while it was closed, if not all of it was delivered. It had the size when it was looked at last.
// Where it may have been compressed, discovery looks for that first.
func (e *Engine) loseLocked(f *file, size int64) {
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
	if unread <= 0 && !open {
		return
	}
	l := loss{f, f.path, *p, f.modified, max(0, unread)}
	l.place.path = f.name
	if e.Compression == CompressionNone || f.packed || e.blind {
		e.tellLoss(&l)
	} else {
		e.losses = append(e.losses, l)
	}
}

func (e *Engine) tellLoss(l *loss) {
	e.gap(l.file, "A file is gone before it was read to its end", zap.Int64("unread_bytes", l.unread))
}

// takeLosses takes those that were noted before a look at everything, which finds what the files were compressed to.
func (e *Engine) takeLosses() []loss {
	e.mu.Lock()
	defer e.mu.Unlock()
	losses := e.losses
	e.losses = nil
	return losses
}

// tellLosses tells of those the content of which is not in a compressed file either, as far as that is found before ctx ends.
func (d *discovery) tellLosses(ctx context.Context, losses []loss) {
	for i := range losses {
		if l := &losses[i]; ctx.Err() != nil || !d.isCompressed(l) {
			d.tellLoss(l)
		}
	}
}

// lookNoMore tells of all losses: nobody looks for compressed files any more.
func (d *discovery) lookNoMore(ctx context.Context) {
	d.mu.Lock()
	d.blind = true
	d.mu.Unlock()
	d.tellLosses(ctx, d.takeLosses())
	d.countGaps(ctx)
}

// isCompressed says that a compressed file that is read has what was lost: the content that was read before it proves that; where nothing was, the time
// of the last change, which compressors keep.
func (d *discovery) isCompressed(l *loss) bool {
	dir := filepath.Dir(l.path)
	names, err := inodes(dir)
	if err != nil {
		return false
	}
	for f, info := range d.compressedBeside(l.place, dir, names) {
		switch {
		case !d.known(f.path, f.id):
		case l.place.offset == 0 && sameTime(info.ModTime(), l.modified):
			return true
		case l.place.offset > 0:
			if _, ok := d.goesOn(f, info.Size(), l.place); ok {
				return true
			}
		}
	}
	return false
}

// sameTime says that a file with the first time may be compressed from one with the other: some compressors keep whole seconds only.
func sameTime(kept, t time.Time) bool {
	return kept.Equal(t) || kept.Nanosecond() == 0 && kept.Unix() == t.Unix()
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
