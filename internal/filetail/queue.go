package filetail

import (
	"context"
)

// queue holds the files that have something to read, first in first out. Engine.mu guards it, but for the channel.
type queue struct {
	files []*file
	ready chan struct{} // has a token when a worker is to be woken
}

func newQueue() queue { return queue{ready: make(chan struct{}, 1)} }

// signal wakes a worker.
func (q *queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take removes the first file, nil when there is none.
func (q *queue) take() *file {
	if len(q.files) == 0 {
		return nil
	}
	f := q.files[0]
	q.files[0] = nil
	q.files = q.files[1:]
	if len(q.files) > 0 {
		q.signal() // the token was for one worker; there is work for another
	} else {
		q.files = nil
	}
	return f
}

// next waits for a file with something to read. It returns nil when ctx ends.
func (e *Engine) next(ctx context.Context) *file {
	for ctx.Err() == nil {
		if f := e.tryNext(); f != nil {
			return f
		}
		select {
		case <-ctx.Done():
		case <-e.queue.ready:
		}
	}
	return nil
}

// tryNext is next without waiting. The file belongs to the caller until it gives it back by [Engine.release].
func (e *Engine) tryNext() *file {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.queue.take()
	for ; f != nil && (f.waitsFor > 0 || f.retired); f = e.queue.take() { // since it was put there
		f.queued, f.again = false, true
	}
	if f == nil {
		return nil
	}
	f.queued, f.reading, f.again = false, true, false
	e.busyLocked(f)
	f.waiting, f.gone, f.at, f.lastSize = len(f.successors), f.detached, f.path, f.size
	f.restart, f.cut = f.restart || f.cut, false
	f.viaLink = f.linked
	f.handed, f.inherits = f.bequeathed(), len(f.testators) > 0
	return f
}

// touchLocked says that the file may have something to read.
func (e *Engine) touchLocked(f *file) {
	if e.queueLocked(f) {
		e.queue.signal()
	}
}

// queueLocked puts the file into the queue, and reports whether it was not there and may be.
func (e *Engine) queueLocked(f *file) bool {
	switch {
	case f.retired || f.queued:
		return false
	case f.reading || f.held || f.waitsFor > 0:
		f.again = true
		return false
	}
	f.queued = true
	e.queue.files = append(e.queue.files, f)
	return true
}

// release gives a file back. With more it has something left to read; without, it was read to its end, and the files that wait for its
// last lines may be read now.
func (e *Engine) release(f *file, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.reading, f.packed, f.started = false, f.codec != nil, f.begun && f.place.offset > 0
	if f.begun {
		f.known = f.place
	}
	e.dueLocked(f)
	e.shedLocked(f)
	e.patientLocked(f)
	e.truncatedLocked(f)
	if f.wants != nil { // not before: what is handed over goes to a file that nobody reads
		e.linkLocked(f.wants, f)
		f.again, f.wants = f.again || f.waitsFor == 0, nil
	}
	if more || f.again {
		f.again = false
		if e.queueLocked(f) && len(e.queue.files) > 1 {
			e.queue.signal() // else the worker that gives it back is the one to take it again
		}
	}
	free := f.waiting
	switch {
	case f.blocked:
		free = 0
	case more:
		free = f.freeable()
	}
	e.freeSuccessorsLocked(f, free)
	e.idleLocked(f)
}

// successor is a file that is read after another one.
type successor struct {
	file *file
	upTo int64 // what the other one held when this one waited for it already; 0: not known yet
}

// freeable returns how many successors need not wait any longer for a file that has more: what comes to it after they were found is not
// theirs to wait for. How much that is, is asked of the file and not of what events have told of it, which may be late.
func (f *file) freeable() (n int) {
	if f.handle == nil || f.codec != nil || f.joiner != nil {
		return 0
	}
	for ; n < f.waiting; n++ {
		s := &f.successors[n]
		if s.upTo == 0 {
			info, err := f.handle.Stat()
			if err != nil {
				return n
			}
			s.upTo = max(1, info.Size())
		}
		if f.place.offset < s.upTo {
			return n
		}
	}
	return n
}

// freeSuccessorsLocked lets the first n successors of f be read.
func (e *Engine) freeSuccessorsLocked(f *file, n int) {
	for _, s := range f.successors[:n] {
		s.file.waitsFor--
		if !s.file.retired {
			e.handOverLocked(f, s.file)
		}
		e.touchLocked(s.file)
	}
	f.successors = f.successors[n:]
}

// patientLocked has a file touched now and then while that is needed.
func (e *Engine) patientLocked(f *file) {
	if f.patient || !f.detached.IsZero() {
		e.pending[f] = struct{}{}
	} else {
		delete(e.pending, f)
	}
}
