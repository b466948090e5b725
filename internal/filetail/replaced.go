package filetail

import (
	"cmp"
	"path/filepath"
	"strings"
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
	if f == nil {
		return false, false
	}
	if f.reading || f.held || f.handle != nil || f.opens > 0 {
		d.rebornLocked(f, path)
		return false, true
	}
	f.original = nil // it was not that which had the content
	d.loseLocked(f, f.size)
	d.endLocked(f)
	d.keepLocked(f, true)
	return true, false
}

// closedSince says that the file with the id is followed, closed unless a worker has it, and was not created at the time.
func (e *Engine) closedSince(known id, born int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.files[known]
	return f != nil && (f.reading || f.handle == nil) && f.born != 0 && f.born != born
}

// rebornLocked has a worker find out that a file is deleted: its id is that of the file at the path.
func (e *Engine) rebornLocked(f *file, path string) {
	f.rebornAt = path
	e.touchLocked(f)
}

// miss notes that the file which has the id of a deleted one is a generation of a log that nobody has seen, written since then. The log waits for
// it if nothing was read of that yet.
func (e *Engine) miss(deleted id, log string, since time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.files[deleted]
	if f == nil {
		return
	}
	f.missed = since
	if next := e.logs[log]; next != nil && !next.started {
		e.linkLocked(f, next)
	}
}

// rebornAt is where a file is that has the id of a deleted one, empty for none.
func (e *Engine) rebornAt(f *file) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.rebornAt
}

// replace ends the following of a file that was deleted while it was closed, and finds the file that has its id, which is at the path: what
// waits for the old one waits for the new one where that is to be read before it.
func (d *discovery) replace(f *file, path string) {
	d.mu.Lock()
	d.relinkLocked(f)
	f.original = nil
	wait, missed := f.successors, f.missed
	f.successors, f.held = nil, false
	d.loseLocked(f, f.lastSize)
	d.endLocked(f)
	d.keepLocked(f, true)
	d.mu.Unlock()
	for _, dir := range d.directoriesAt(filepath.Dir(path)) {
		d.lookAt(dir, filepath.Base(path))
		d.lookAtGenerations(dir, map[string]sought{family(path): {true, missed}})
	}
	copies := make([]*file, len(wait))
	for i, s := range wait {
		copies[i] = d.copyAt(path, s.file)
	}
	d.settle()
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range wait {
		d.linkLocked(copies[i], s.file)
	}
	f.successors = wait
	d.freeSuccessorsLocked(f, len(wait))
}

// copyAt is heldBy for a file that was truncated, waits for its copies, and may have one at the path.
func (d *discovery) copyAt(path string, f *file) *file {
	d.mu.Lock()
	at, past, cut := f.path, f.past, f.cut
	d.mu.Unlock()
	if !cut || past.offset == 0 || path == at || family(path) != family(at) {
		return nil
	}
	copied, _ := d.heldBy(path, f, past)
	return copied
}

// directoriesAt returns those of the tree that have the path.
func (d *discovery) directoriesAt(path string) (all []*directory) {
	for _, dir := range d.roots {
		below, err := filepath.Rel(orDot(dir.path), path)
		if err != nil {
			continue
		}
		for dir != nil && below != "." {
			name, rest, _ := strings.Cut(below, string(filepath.Separator))
			dir, below = dir.children[name], cmp.Or(rest, ".")
		}
		if dir != nil {
			all = append(all, dir)
		}
	}
	return all
}

// done says that a file is not followed any more.
func (e *Engine) done(f *file) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.retired
}
