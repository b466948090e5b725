package filetail

import (
	"path/filepath"
	"time"
)

// A file system gives the id of a deleted file to a new one, often to the next. While a file is open nobody else gets its id; of one that
// was closed the time of its creation tells. Discovery finds that out when it sees the new file, or a worker when it opens the old one. Either way
// the new file begins as any other does: it has its own place in the order of its log.

// replacedUnseen ends the following of a file that was deleted while it was closed, and whose id the file system has given to the file that is
// at the path. It reports whether that is so. In doubt it is so, but a worker has to find that out, which delivers what is open of the old file.
func (d *discovery) replacedUnseen(known id, path string) (ended, doubt bool) {
	if d.ByPath || !d.closedSince(known, 0) {
		return false, false
	}
	born := bornAt(path, known)
	if born == 0 || !d.closedSince(known, born) {
		return false, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[known]
	if f == nil || f.reading || f.held || f.handle != nil || f.opens > 0 {
		return false, f != nil
	}
	f.original = nil // it was not that which had the content
	d.lose(f, f.size)
	d.endLocked(f)
	d.keepLocked(f, true)
	return true, false
}

// closedSince says that the file with the id is followed, not open, and was not created at the time.
func (e *Engine) closedSince(known id, born int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.files[known]
	return f != nil && !f.reading && f.handle == nil && f.born != 0 && f.born != born
}

// replace ends the following of a file that was deleted while it was closed, and finds the file that has its id, which is at the path: what
// waits for the old one waits for the new one where that is to be read before it.
func (d *discovery) replace(f *file, path string) {
	d.mu.Lock()
	d.relinkLocked(f)
	f.original = nil
	wait := f.successors
	f.successors, f.held = nil, false
	d.lose(f, f.lastSize)
	d.endLocked(f)
	d.keepLocked(f, true)
	d.mu.Unlock()
	if dir := f.dir; dir != nil && !dir.dropped() && filepath.Dir(path) == filepath.Clean(orDot(dir.path)) {
		d.lookAt(dir, filepath.Base(path))
		d.lookAtGenerations(dir, map[string]time.Time{family(path): {}})
	}
	d.settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	f.successors = wait
	d.freeSuccessorsLocked(f, len(wait))
}

// done says that a file is not followed any more.
func (e *Engine) done(f *file) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.retired
}
