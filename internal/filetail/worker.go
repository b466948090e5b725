package filetail

import (
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/emit"
)

// maxTaken bounds the files of one batch, so that files which turn out to have nothing new do not delay those which have.
const maxTaken = 1024

// taken is a file that a worker has read for the batch.
type taken struct {
	file *file
	more bool // it has something left to read
}

// work reads files and delivers what they hold until ctx ends.
func (e *Engine) work(ctx context.Context) {
	r := newReader(e)
	for {
		f := e.next(ctx)
		if f == nil {
			return
		}
		size, err := e.Budget.Acquire(ctx, emit.MaxBatchBytes)
		if err != nil {
			return
		}
		err = e.turn(ctx, r, f)
		e.Budget.Release(size)
		if err != nil {
			return
		}
	}
}

// turn fills a batch from the file and those that are ready behind it, delivers it, and stores their positions. It returns an error
// when ctx ended before the delivery was acknowledged: what was read is then read again by the next start.
func (e *Engine) turn(ctx context.Context, r *reader, f *file) error {
	defer r.reset()
	r.put = e.Store.Mark()
	for f != nil {
		err := e.ready(f)
		if err == nil {
			r.taken = append(r.taken, taken{f, r.read(f)})
			e.put(f)
		}
		if r.batch.Full() || len(r.taken) == maxTaken || errors.Is(err, errRefused) {
			break
		}
		f = e.tryNext()
	}
	if err := e.deliver(ctx, r); err != nil {
		// The files stay taken: their places are behind lines that nobody has, and must not be stored by another worker.
		return err
	}
	for _, t := range r.taken {
		e.commit(t.file)
		e.remove(t.file)
		if !t.file.ended || !e.retire(t.file) {
			e.release(t.file, t.more)
			continue
		}
		if t.file.vanished {
			e.mu.Lock()
			e.loseLocked(t.file, t.file.lastSize)
			e.mu.Unlock()
		}
	}
	e.countGaps(ctx)
	return nil
}

func (e *Engine) deliver(ctx context.Context, r *reader) error {
	if r.batch.Len() == 0 {
		return nil
	}
	// The last positions before the next delivery: a kill repeats no more than one batch of each worker.
	if err := e.Store.Sync(ctx, r.put); err != nil {
		return err
	}
	return e.Sink.Consume(ctx, &r.batch)
}

// ready opens a file for its turn. Where the file has to wait until others are closed, the error is errNoRoom or errRefused, and it is given back.
func (e *Engine) ready(f *file) error {
	err := e.open(f)
	switch {
	case errors.Is(err, errNoRoom):
		e.waitForRoom(f)
		return err
	case errors.Is(err, errRefused):
		e.waitForSystem(f)
		return err
	}
	f.vanished = err != nil && missing(err)
	f.unopened = err
	return nil
}

// put does with the handle what is right after a turn.
func (e *Engine) put(f *file) {
	if f.handle != nil && (!f.gone.IsZero() || f.viaLink && f.place.at == "") {
		f.whereabouts()
	}
	f.aside = f.handle != nil && !f.gone.IsZero() && !e.ByPath && fileAt(f.place.where(), f.id) != nil
	switch {
	case f.handle == nil || !f.gone.IsZero() && !f.aside:
	case !f.unpacking && (e.ByPath || e.crowded()):
		e.letGo(f)
	}
}

// commit stores the position of a file if it has moved.
func (e *Engine) commit(f *file) {
	if f.onlyPassedOn() && len(f.handed) == 0 {
		e.inheritanceStored(f)
	}
	open := f.openLines()
	if !f.begun || f.place.offset == f.saved && f.place.at == f.savedAt && open == f.savedOpen && f.place.packed == f.savedPacked {
		return
	}
	f.place.open = open
	e.Store.Put(f.id.key(), f.place.encode())
	f.saved, f.savedAt, f.savedOpen, f.savedPacked = f.place.offset, f.place.at, open, f.place.packed
	e.inheritanceStored(f)
}

// remove deletes a file that was read to its end, where that is asked for.
func (e *Engine) remove(f *file) {
	if !e.Delete || !f.consumed || f.place.offset == 0 || !f.gone.IsZero() {
		return
	}
	f.patient = true // until it is gone
	if time.Since(f.grew) < e.RotateWait || !e.Store.Stored() || f.openLines() != "" {
		return
	}
	info := fileAt(f.at, f.id)
	if info == nil || info.Size() != f.readSize() {
		return
	}
	if err := os.Remove(f.at); err != nil && !missing(err) {
		e.readFailed(f, err)
	}
}

// readFailed tells of a file that cannot be read, once until it can.
func (e *Engine) readFailed(f *file, err error) {
	if (err != nil) == f.failing {
		return
	}
	f.failing = err != nil
	if err != nil && !f.vanished {
		e.Logger.Warn("A file cannot be read; it is tried again when it changes", zap.String("path", f.name), zap.Error(err))
	}
}
