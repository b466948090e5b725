package filetail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/logcapture/logcapture/internal/lineformat"
)

// cut is a file that discovery has to look beside before more of it is read.
type cut struct {
	file    *file
	shrunk  bool   // it was truncated; else it only may have been, before anything was read of it
	takenAt string // or it is deleted, and here is another one under its id
}

// clockSlack is by how much the times of files may be behind.
const clockSlack = 100 * time.Millisecond

// errUnsure says that what a file holds may not be the first that was written to it.
var errUnsure = errors.New("a copy of what was written before may be beside the file")

// sure says whether the beginning of a log can be taken: rotation may have copied something that was there before, and truncated the log,
// which nothing in it tells. So discovery looks for more generations when the beginning has been seen; when that is still there then, no copy
// is missing.
func (r *reader) sure(f *file, block []byte) error {
	if f.place.offset > 0 || f.looked || len(block) == 0 || f.codec != nil || !f.gone.IsZero() || !r.engine.related(f) {
		return nil
	}
	if seen := f.seen; seen.size > 0 && seen.size <= len(block) && evidenceOf(block[:seen.size]) == seen {
		f.looked = true
		return nil
	}
	f.seen = evidenceOf(block[:min(headSize, len(block))])
	return errUnsure
}

// related says that a file is a log, or was when it was found, of which there are other generations. A copy of one that was truncated, and may be
// again, may be where no pattern looks.
func (e *Engine) related(f *file) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return f.log == f.name && !e.ByPath && (f.past.offset > 0 || e.relatedLocked(f.log))
}

// errTruncated says that a file does not hold any more what was read of it.
var errTruncated = errors.New("the file was truncated")

// truncatedLocked hands a file that is given back to discovery, which looks where the content has gone that it held: what was not read of it is
// read there first. One that is deleted is ended by discovery, which finds what is there instead.
func (e *Engine) truncatedLocked(f *file) {
	if !f.shrunk && !f.unsure && f.takenAt == "" {
		return
	}
	if f.shrunk {
		f.past = f.place
		if f.past.open = ""; f.begun { // without what others have taken over
			f.past.open = f.encodeOpen(nil)
		} else if len(f.handed) == 0 {
			f.past.open = f.place.open
		}
		remembered := f.past
		remembered.open = "" // it goes on in a copy, or in the file
		e.rememberLocked(remembered)
		if f.since = (time.Time{}); f.moved {
			f.since = f.grew.Add(-clockSlack)
		}
		f.started = false // nothing was read of what it holds now
	}
	f.held = true
	e.cut = append(e.cut, cut{f, f.shrunk, f.takenAt})
	f.shrunk, f.unsure, f.takenAt = false, false, ""
	select {
	case e.cuts <- struct{}{}:
	default:
	}
}

// anew begins with a file that was truncated.
func (r *reader) anew(f *file) error {
	f.restart = false
	f.begun = true
	r.engine.mu.Lock()
	r.engine.keepOpenLocked(f)
	r.engine.mu.Unlock()
	f.rewind()
	if !r.engine.ReadNew {
		// Until something new was read, the stored position has to go on telling what was, for the copies that may be there after a restart.
		f.saved, f.savedAt, f.savedOpen, f.savedPacked = 0, "", "", 0
		return nil
	}
	info, err := f.handle.Stat()
	if err != nil {
		return err
	}
	f.limit = info.Size()
	if err = r.engine.findScript(f, f.limit); err == nil {
		err = f.skip(r.longest())
	}
	return err
}

// keepOpenLocked has what was open in a truncated file go on in it: a copy that is found from now on does not have it. What is not in its joiner, as
// after a restart, and was only in what is gone, is lost.
func (e *Engine) keepOpenLocked(f *file) {
	past := f.past.open
	f.past.open = ""
	if f.joiner != nil || f.inherited != nil || past == "" {
		return
	}
	open, _, err := lineformat.DecodeOpen([]byte(past))
	if err != nil {
		return // it was checked when the position was
	}
	all := len(open)
	if f.inherited = slices.DeleteFunc(open, func(o lineformat.Open) bool { return o.At >= 0 }); len(f.inherited) < all {
		e.gap(f, "The beginning of a record was truncated away before its end had come")
	}
}

// lookAfterCuts looks for the copies of files that were truncated, and lets the files be read then.
func (d *discovery) lookAfterCuts() {
	d.mu.Lock()
	cut := d.cut
	d.cut = nil
	d.mu.Unlock()
	for _, c := range cut {
		f := c.file
		if c.takenAt != "" {
			d.replace(f, c.takenAt)
			continue
		}
		var copies []*file
		d.mu.Lock()
		since, log := f.since, f.log
		d.mu.Unlock()
		if c.shrunk {
			copies, since = d.copiesOf(f, since)
		}
		if f.dir != nil && !f.dir.dropped() {
			d.lookAtGenerations(f.dir, map[string]sought{log: {true, since}})
		}
		d.settle()
		d.mu.Lock()
		f.held = false
		d.idleLocked(f)
		if c.shrunk {
			f.cut, f.known = true, position{id: f.id} // nothing is known of what it holds now
		}
		for _, copied := range copies {
			d.linkLocked(copied, f)
		}
		for _, older := range d.generationsLocked(f.log) {
			if older == f {
				break
			}
			if !older.started {
				d.linkLocked(older, f)
			}
		}
		d.touchLocked(f)
		d.mu.Unlock()
	}
}

// copiesOf returns the files that may hold what a truncated file did, and lets it be read behind what was read of it. Copies are looked for
// beside the file, among those that have the name of a generation of it.
// It also returns the time since which there may be more generations: that of the copy, or else the one that is given.
func (d *discovery) copiesOf(f *file, since time.Time) ([]*file, time.Time) {
	var copies []*file
	d.mu.Lock()
	path, past := f.path, f.past
	d.mu.Unlock()
	if past.offset == 0 {
		return nil, since
	}
	dir := filepath.Dir(path)
	names, err := inodes(dir)
	if err != nil {
		return nil, since
	}
	for _, name := range names {
		beside := filepath.Join(dir, name)
		if beside == path || family(beside) != family(path) {
			continue
		}
		if found, modified := d.heldBy(beside, f, past); found != nil {
			copies = append(copies, found)
			if !modified.IsZero() {
				since = modified
				break
			}
		}
	}
	return copies, since
}

// heldBy returns the file at a path if it may hold what a truncated file did, and when it was changed last where that is proved.
func (d *discovery) heldBy(path string, original *file, past position) (copied *file, modified time.Time) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil, time.Time{}
	}
	known, err := d.identify(path, info)
	if err != nil {
		return nil, time.Time{}
	}
	born := bornAt(path, known)
	d.mu.Lock()
	followed, begun := d.files[known], false
	if followed != nil {
		begun = followed.known.id != id{}
	}
	deleted := followed != nil && !d.ByPath && followed.born != 0 && born != 0 && followed.born != born
	if deleted {
		d.rebornLocked(followed, path)
	}
	_, stored := d.stored[known]
	d.mu.Unlock()
	switch {
	case deleted: // and its id given to the file at the path, which is followed when the deleted one is let go
		return followed, time.Time{}
	case followed != nil && !begun:
		return followed, time.Time{} // it finds out by itself
	case followed == nil && !stored:
		copied = d.followCopy(&file{id: known, name: past.path, path: path, born: born}, info, past)
	case !past.opensHere() || !holdsAt(path, past): // what is open, if anything, was handed back before
		return nil, time.Time{}
	case followed != nil:
		copied = followed
	default: // followed by an earlier run, until it was read to its end
		if copied = (&file{id: known, name: past.path, path: path}); d.followAside(copied, info) != nil {
			return nil, time.Time{}
		}
	}
	if copied == nil {
		return nil, time.Time{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if followed != nil && original.past.open == "" {
		return nil, time.Time{} // it was handed back meanwhile
	}
	copied.original = original
	return copied, info.ModTime()
}

// holdsAt says that the file at a path holds all that was read of its content under another id.
func holdsAt(path string, past position) bool {
	handle, err := os.Open(path)
	if err != nil {
		return false
	}
	defer handle.Close()
	f := &file{handle: handle}
	head, err := f.proves(past.head, int64(past.head.size))
	if !head || err != nil {
		return false
	}
	guard, err := f.proves(past.guard, past.offset)
	return guard && err == nil
}

// followCopy follows a file behind what was read of its content under another id, if its content proves that. What was read to its end is only
// noted: nothing more is written to a copy.
func (d *discovery) followCopy(f *file, info fs.FileInfo, past position) *file {
	size, ok := d.goesOn(f, info.Size(), past)
	if !ok {
		return nil
	}
	place := f.place
	if place.at = f.path; size <= past.offset && place.open == "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.stored[f.id] = place
		d.Store.Put(f.id.key(), place.encode())
		return nil
	}
	copied := &file{id: f.id, name: f.name, path: f.path, stored: &place}
	if d.followAside(copied, info) != nil {
		return nil
	}
	return copied
}

// goesOn finds the place in a file behind what was read of its content under another id, if its content proves that. The file is closed before and
// after. It returns how much content there may be, which of a compressed file is not known.
func (d *discovery) goesOn(f *file, size int64, past position) (content int64, ok bool) {
	var err error
	if f.handle, err = os.Open(f.path); err != nil {
		return 0, false
	}
	defer f.closeHandle()
	if kind, ok, err := compression(d.Compression, f.handle); err == nil && ok && kind != CompressionNone {
		f.codec = &codec{kind: kind, file: f.handle}
		defer f.codec.stop()
		size = 1 << 62
	}
	ok, err = f.continues(past, size)
	return size, ok && err == nil
}
