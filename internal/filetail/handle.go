package filetail

import (
	"container/list"
	"errors"
	"io/fs"
	"os"

	"go.uber.org/zap"
)

const (
	// fewestHandles is how many files stay open, where that many are, however many the system refuses.
	fewestHandles = 8
	// spareHandles is by how many fewer files are open than the system has let be: directories have to be listed too, and positions stored.
	spareHandles = 16
)

// handles bounds the open files. Engine.mu guards it.
type handles struct {
	most    int // limit while the system refuses nothing
	limit   int
	open    int
	idle    *list.List // of files that are open and may be closed, the one that was used longest ago first
	waiting []*file    // that could not be opened for their turn
	refused bool       // the system has, since the last look at everything
	learned bool       // limit was made smaller since the last tick: what was refused since then was asked for before
	told    bool       // the log has told that the system has no more
}

// reserve takes room for one more open file, if there is any.
func (e *Engine) reserve() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.handles.open >= e.handles.limit {
		return false
	}
	e.handles.open++
	return true
}

// unreserve gives room back, to a file that waits for it.
func (e *Engine) unreserve() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handles.open--
	e.roomLocked()
}

// roomLocked has one of the files that wait for room read. Some of them may have found it meanwhile.
func (e *Engine) roomLocked() {
	for len(e.handles.waiting) > 0 {
		f := e.handles.waiting[0]
		e.handles.waiting = e.handles.waiting[1:]
		if e.queueLocked(f) {
			e.queue.signal()
			break
		}
	}
}

// makeRoom is reserve that closes a file which is not in use, if need be.
func (e *Engine) makeRoom() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.handles.open >= e.handles.limit {
		if !e.closeIdleLocked() {
			return false
		}
	}
	e.handles.open++
	return true
}

// closeIdleLocked closes the file that was in use longest ago, if one is not in use.
func (e *Engine) closeIdleLocked() bool {
	front := e.handles.idle.Front()
	if front == nil {
		return false
	}
	f := front.Value.(*file)
	e.busyLocked(f)
	f.closeHandle()
	e.handles.open--
	return true
}

// idleLocked says that the handle of a file may be closed to make room. That of a file which is gone is kept, unless it is known where that could
// be opened again.
func (e *Engine) idleLocked(f *file) {
	e.busyLocked(f)
	if !f.reading && !f.held && f.handle != nil && !f.unpacking && (f.detached.IsZero() || f.aside) {
		f.idle = e.handles.idle.PushBack(f)
		e.roomLocked()
	}
}

// busyLocked says that the handle of a file is in use.
func (e *Engine) busyLocked(f *file) {
	if f.idle != nil {
		e.handles.idle.Remove(f.idle)
		f.idle = nil
	}
}

// crowded says that others wait for room, or would have to while a file that was just read stays open until it is delivered.
func (e *Engine) crowded() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &e.handles
	return h.open >= h.limit && (len(h.waiting) > 0 || h.idle.Len() == 0 && len(e.files) > h.open)
}

// letGo closes the handle of a file that the caller has taken.
func (e *Engine) letGo(f *file) {
	if f.handle != nil {
		f.closeHandle()
		e.unreserve()
	}
}

// closeHandle closes what was only read.
func (f *file) closeHandle() {
	_ = f.handle.Close()
	f.handle = nil
}

// fewerHandles learns from a refusal of the system how many files can be open. One that is not in use is closed in any case: others in the process
// may have taken what there was.
func (e *Engine) fewerHandles(err error) {
	e.mu.Lock()
	h := &e.handles
	h.refused = true
	if !h.learned {
		h.learned = true
		h.limit = min(h.limit, max(1, min(h.open, fewestHandles), h.open-spareHandles))
	}
	for closed := e.closeIdleLocked(); closed && h.open > h.limit; {
		closed = e.closeIdleLocked()
	}
	limit, told := h.limit, h.told
	h.told = true
	e.mu.Unlock()
	if !told {
		e.Logger.Warn("The system lets no more files be opened; they are read in turns", zap.Int("open", limit), zap.Error(err))
	}
}

// moreHandles lets more files be open again when the system has refused none since the last call.
func (e *Engine) moreHandles() {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := &e.handles
	if !h.refused {
		for more := min(h.limit, h.most-h.limit); more > 0; more-- {
			h.limit++
			e.roomLocked()
		}
	}
	h.refused = false
}

var (
	errNoRoom  = errors.New("too many files are open")
	errRefused = errors.New("the system lets no more files be opened")
)

// open opens the file that a worker has taken, where it is not open. The error is errNoRoom where it has to wait for others, errRefused
// where the system lets it not be opened, and fs.ErrNotExist where no path is known that leads to it.
func (e *Engine) open(f *file) error {
	if f.handle != nil {
		return nil
	}
	if !e.makeRoom() {
		return errNoRoom
	}
	handle, err := e.openPath(f, f.at)
	if err != nil && missing(err) && !e.ByPath {
		handle, err = e.openElsewhere(f)
	}
	if err != nil {
		e.unreserve()
		if outOfHandles(err) {
			e.fewerHandles(err)
			return errRefused
		}
		return err
	}
	e.mu.Lock()
	f.handle = handle
	e.mu.Unlock()
	return nil
}

// openElsewhere opens a file that is not at its path any more: where it was when it was read, or beside one of these places.
func (e *Engine) openElsewhere(f *file) (*os.File, error) {
	for _, path := range []string{f.place.at, e.rebornAt(f), locate(f.at, f.id), locate(f.place.where(), f.id)} {
		if path == "" {
			continue
		}
		if handle, err := e.openPath(f, path); err == nil || !missing(err) {
			return handle, err
		}
	}
	return nil, fs.ErrNotExist
}

// openPath opens the file at the path, if it is the one that is meant.
func (e *Engine) openPath(f *file, path string) (*os.File, error) {
	handle, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := handle.Stat()
	if err == nil && !e.ByPath {
		var known id
		if known, err = idOf(handle, info); err == nil && known != f.id {
			err = fs.ErrNotExist // another one is there now
		}
	}
	if err != nil {
		return nil, errors.Join(err, handle.Close())
	}
	if born := bornOf(handle); born != 0 && f.born != 0 && born != f.born && !e.ByPath {
		f.takenAt = path
		return nil, errors.Join(fs.ErrNotExist, handle.Close())
	}
	return handle, nil
}

// waitForRoom gives back a file that could not be opened because too many others are.
func (e *Engine) waitForRoom(f *file) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.reading = false
	e.handles.waiting = append(e.handles.waiting, f)
	if e.handles.idle.Len() > 0 || e.handles.open < e.handles.limit { // there is room meanwhile
		e.roomLocked()
	}
}

// waitForSystem gives back a file that the system did not let be opened. It is tried again at the next tick: nobody tells when others in the
// process have closed theirs.
func (e *Engine) waitForSystem(f *file) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.reading = false
	e.pending[f] = struct{}{}
}
