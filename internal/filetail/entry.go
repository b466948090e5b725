package filetail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

// lookAtFile takes notice of what a known path leads to now.
func (d *discovery) lookAtFile(ent *entry, path string) {
	info, err := os.Stat(path)
	switch {
	case err != nil && !missing(err):
		d.unreadable(path, err) // what is known of it stays
	case err != nil || !info.Mode().IsRegular():
		d.gone(ent)
	default:
		d.unreadable(path, d.found(ent, path, info))
	}
}

// lookAtNew takes notice of a path that was not known. info and err are what a look at it has told.
func (d *discovery) lookAtNew(ent *entry, path string, info fs.FileInfo, err error) {
	if err == nil && info.Mode().IsRegular() {
		err = d.found(ent, path, info)
	}
	if ent.here {
		ent.dir.entries[ent.name] = ent
	}
	d.unreadable(path, err)
}

// unreadable tells of a path that cannot be read, once until it can.
func (d *discovery) unreadable(path string, err error) {
	switch {
	case err == nil:
		delete(d.warned, path)
	case missing(err): // it went away between the listing and the look, maybe to another name
		d.slipped[family(path)] = true
	case !d.warned[path]:
		d.warned[path] = true
		d.Logger.Warn("A file cannot be read; it is tried again", zap.String("path", path), zap.Error(err))
	}
}

// found takes notice of a file at a path.
func (d *discovery) found(ent *entry, path string, info fs.FileInfo) error {
	known, err := d.identify(path, info)
	if err != nil {
		return err
	}
	same := ent.here && ent.file.id == known && !d.done(ent.file)
	if same && info.Size() == ent.size && info.ModTime().Equal(ent.modified) {
		return nil
	}
	ended, doubt := d.replacedUnseen(known, path)
	if doubt { // the size is of the new file, which is found when the old one has ended
		return nil
	}
	if same && !ended {
		ent.size, ent.modified = info.Size(), info.ModTime()
		d.grown(ent.file, info)
		return nil
	}
	replaced := ent.file
	d.gone(ent)
	ent.size, ent.modified = info.Size(), info.ModTime()
	if d.attach(ent, known, path, info) {
		return nil
	}
	f := &file{id: known, name: path, path: path, replaced: replaced}
	if err := d.begin(ent, f, info); err != nil {
		return err
	}
	if d.attach(ent, known, path, info) {
		d.appeared = append(d.appeared, ent)
	}
	return nil
}

// identify returns the id of the file at a path. Where the file system's is not stable, it is made of the path.
func (e *Engine) identify(path string, info fs.FileInfo) (id, error) {
	if e.ByPath {
		return idOfName(path), nil
	}
	return idOfPath(path, info)
}

// grown notes the size and time of a file that is looked at, and has it read.
func (d *discovery) grown(f *file, info fs.FileInfo) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f.size, f.modified = info.Size(), info.ModTime()
	d.touchLocked(f)
}

// attach notes that the path leads to the file with the id, if that is followed.
func (d *discovery) attach(ent *entry, known id, path string, info fs.FileInfo) bool {
	d.mu.Lock()
	followed := d.files[known] != nil
	d.mu.Unlock()
	if !followed {
		return false
	}
	link := isLink(path)
	d.mu.Lock()
	f := d.files[known]
	if f != nil {
		f.links++
		f.path, f.size, f.modified = path, info.Size(), info.ModTime()
		f.detached = time.Time{}
		delete(d.pending, f)
		d.idleLocked(f)
		d.touchLocked(f)
		ent.file, ent.here, f.dir = f, true, ent.dir
		d.logs[path] = f
		f.linked = link || ent.dir.linked
	}
	d.mu.Unlock()
	if f != nil {
		d.followLink(ent, link)
	}
	return f != nil
}

// gone notes that the path leads to its file no more. What the file still holds is read, and what is still written to it.
func (d *discovery) gone(ent *entry) {
	if !ent.here {
		return
	}
	ent.here = false
	d.mu.Lock()
	defer d.mu.Unlock()
	f := ent.file
	if path := ent.path(); d.logs[path] == f {
		delete(d.logs, path)
	}
	if f.links > 0 && !f.retired {
		if f.links--; f.links == 0 {
			d.detachLocked(f)
		}
	}
}

// detachLocked says that no path that the patterns match leads to the file.
func (e *Engine) detachLocked(f *file) {
	f.detached = time.Now()
	if !f.reading {
		f.aside = false // its next turn finds out
	}
	e.idleLocked(f)
	e.pending[f] = struct{}{}
	e.touchLocked(f)
}

// forget removes an entry that leads nowhere, when its file is done with.
func (d *discovery) forget(ent *entry) {
	d.mu.Lock()
	done := !ent.here && ent.file.retired
	d.mu.Unlock()
	if done {
		d.leaveTarget(ent)
		delete(ent.dir.entries, ent.name)
	}
}

// isLink says that what is at a path is a link.
func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// followLink takes notice of a path that may be a link.
func (d *discovery) followLink(ent *entry, link bool) {
	if ent.link = link; !link {
		d.leaveTarget(ent)
	} else {
		d.watchTarget(ent)
		ent.dir.links = true
		ent.dir.remote = ent.dir.remote || ent.watch == nil
		d.choose(ent.dir)
	}
}

// watchTarget watches the directory of what a link leads to.
func (d *discovery) watchTarget(ent *entry) {
	target, err := filepath.EvalSymlinks(ent.path())
	if err != nil {
		return // it leads nowhere at the moment
	}
	dir := filepath.Dir(target)
	info, err := os.Stat(dir)
	if err != nil {
		return
	}
	known, err := idOfPath(dir, info)
	if err != nil {
		return
	}
	w, name := d.watches.add(d.Engine, dir, known), filepath.Base(target)
	if w == ent.watch && name == ent.target {
		return
	}
	if w != nil {
		w.targets[name] = ent
	}
	d.leaveTarget(ent)
	ent.watch, ent.target = w, name
}

// leaveTarget ends the watching of what a link led to.
func (d *discovery) leaveTarget(ent *entry) {
	if w := ent.watch; w != nil && w.targets[ent.target] == ent {
		delete(w.targets, ent.target)
		d.watches.unused(w)
	}
	ent.watch, ent.target = nil, ""
}

// begin begins with a file that was not followed. It is held until the look is over, which tells what is to be read before it.
func (d *discovery) begin(ent *entry, f *file, info fs.FileInfo) error {
	d.mu.Lock()
	_, stored := d.stored[f.id]
	d.mu.Unlock()
	if !stored && d.tooOld(f, info) {
		return nil
	}
	if err := d.openFresh(f, info); err != nil {
		if d.startsAtEnd(ent, f) {
			d.skips[f.id] = info.Size()
		}
		return err
	}
	if f.id == (id{}) {
		return nil // another file is there now, which is followed
	}
	if !d.ByPath {
		f.born = f.birth()
	}
	if limit, ok := d.skips[f.id]; ok {
		delete(d.skips, f.id)
		f.atEnd, f.limit = true, limit
	} else if d.startsAtEnd(ent, f) {
		f.atEnd, f.limit = true, info.Size()
	}
	d.add(f, info)
	return nil
}

// startsAtEnd says that what a file that was never read holds now is not to be read.
func (d *discovery) startsAtEnd(ent *entry, f *file) bool {
	return d.first && d.StartAtEnd && !d.allNew && !d.lost[f.id] &&
		!slices.ContainsFunc(ent.patterns, func(p *pattern) bool { return d.seen[p] })
}

// tooOld says that a file is excluded by its age. When something is written to it, it is read; start_at says from where.
func (d *discovery) tooOld(f *file, info fs.FileInfo) bool {
	if d.ExcludeOlderThan == 0 || time.Since(info.ModTime()) <= d.ExcludeOlderThan {
		return false
	}
	if d.StartAtEnd {
		d.skips[f.id] = info.Size()
	}
	return true
}

// openFresh opens a file before its turn, so that it is not lost when it is renamed before; only while there is room for more.
func (d *discovery) openFresh(f *file, info fs.FileInfo) error {
	if !d.reserve() {
		return nil
	}
	handle, err := os.Open(f.path)
	if err != nil {
		d.unreserve()
		if outOfHandles(err) {
			d.fewerHandles(err)
			return nil
		}
		return err
	}
	now, err := handle.Stat()
	if err == nil && (d.ByPath || os.SameFile(info, now)) {
		f.handle = handle
		return nil
	}
	// Between the two looks at the path another file has come there: the next look begins with that.
	d.unreserve()
	return errors.Join(err, handle.Close(), fs.ErrNotExist)
}

// add takes the file into the table. Where it is nowhere, info is nil.
func (d *discovery) add(f *file, info fs.FileInfo) {
	f.grew, f.saved = time.Now(), -1
	f.modified = time.Unix(0, f.born)
	if info != nil {
		f.size, f.modified = info.Size(), info.ModTime()
	}
	f.held, f.again = true, true
	if f.stored == nil && f.born != 0 && !d.first {
		f.since = time.Unix(0, f.born).Add(-clockSlack)
	}
	defer func() { f.source = d.sourceOf(f, info) }() // without the lock: it may look at the file system
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.storedLocked(f); ok {
		f.stored, f.name, f.atEnd = &p, p.path, false
		f.known = p
	} else if f.stored != nil {
		f.known = *f.stored
		d.Store.Put(f.id.key(), f.stored.encode()) // before the position of the file whose content it has
	}
	d.nameLocked(f, f.name)
	d.files[f.id] = f
	d.idleLocked(f)
	d.fresh = append(d.fresh, f)
}
