package filetail

import (
	"slices"

	"github.com/logcapture/logcapture/internal/lineformat"
)

// Lines of a container go on across a rotation: what the last line of the old file has left open is ended by the first line of the new one. So
// what is open is handed to the successor when the old file has been read to its end. Its text is then part of the successor's
// position; until that is stored, the position of the old file keeps saying where it is.

// heir is a file that has taken over what was open in another one.
type heir struct {
	file *file
	open []lineformat.Open
}

// bequeathed returns what the heirs of a file have taken over.
func (f *file) bequeathed() (open []lineformat.Open) {
	for _, h := range f.heirs {
		open = append(open, h.open...)
	}
	return open
}

// disinheritLocked says that another file is no heir of this one any more.
func (f *file) disinheritLocked(other *file) {
	f.heirs = slices.DeleteFunc(f.heirs, func(h heir) bool { return h.file == other })
}

// heirInsteadLocked says that what one file has taken over of this one is in another file now.
func (f *file) heirInsteadLocked(old, other *file) {
	for i := range f.heirs {
		if f.heirs[i].file == old {
			f.heirs[i].file = other
		}
	}
}

// handOverLocked gives what is open of a file that is read to its end to the one that goes on with its lines.
func (e *Engine) handOverLocked(from, to *file) {
	switch {
	case to.reading: // by a worker, which has the joiner: an older file was found in its first turn
		return
	case from.log != to.log: // which only waits for the id of the other one, that is deleted, to be free
		return
	case from.original == to: // from was begun with what is open in to
		from.original = nil
		to.joiner, to.past.open = nil, ""
		if len(to.testators) == 0 { // else it is of others
			to.inherited = nil
		}
		if to.stored != nil {
			to.stored.open = ""
		}
		e.storeEndedLocked(from, to)
	case from.original != nil && to.precedes(from.original): // a later copy of the same log
		to.original, from.original = from.original, nil
	case to.asked == from && from.original == nil: // the compressed file that is made of it
	case e.rawLines() || from.hasSuccessor(from.original):
		return
	}
	if from.joiner == nil && from.inherited == nil {
		return
	}
	open := from.inherited
	if from.joiner != nil {
		open = append(open, from.joiner.Take()...)
	}
	from.inherited = nil
	if len(open) == 0 {
		return
	}
	to.inherited = append(to.inherited, open...)
	to.testators = append(to.testators, from)
	from.heirs = append(from.heirs, heir{to, open})
}

// storeEndedLocked has the stored position of a log that was truncated say no more what was open there: the copy has gone on with that, and its
// position is stored. The next turn of the log would not do it, because it stores nothing until something new was read (see [reader.anew]).
func (e *Engine) storeEndedLocked(copied, log *file) {
	open := encodeOpen(log.bequeathed()) // what others have taken over, and are not stored with
	switch {
	case !copied.begun && copied.stored == nil: // it could not be read, and has no position
	case log.begun && log.savedOpen != open:
		log.place.open, log.savedOpen = open, open
		e.Store.Put(log.id.key(), log.place.encode())
	case !log.begun && log.stored != nil:
		p := *log.stored
		p.open = open
		e.Store.Put(p.id.key(), p.encode())
	}
}

// takeFromLog has what was open in a log when that was truncated go on in f, if f begins with new content and comes before what the log holds
// now: that was written to the log since then, and copied. The error is errOthers while that is about to change.
func (e *Engine) takeFromLog(f *file) error {
	if !e.joined || f.place.offset > 0 {
		return nil
	}
	if e.truncatedUnseen(f) {
		return errOthers
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	log := e.logs[f.log]
	if log == nil || log == f || f.original == log || log.precedes(f) || log.started && !f.precedes(log) {
		return nil
	}
	if log.reading || log.held {
		return errOthers
	}
	for other := range e.kinOfLocked(f.log) {
		switch {
		case other.original != log || !other.precedes(log):
		case f.precedes(other): // which goes on with that
			return nil
		default: // and is about to hand it back
			return errOthers
		}
	}
	truncated := log.cut || log.restart
	if truncated { // and no copy has what it held
		e.keepOpenLocked(log)
		if log.stored != nil {
			log.stored.open = ""
		}
	}
	open, stored := log.inherited, log.place.open != ""
	switch {
	case log.begun && (log.place.offset == 0 || truncated) && log.joiner != nil:
		open = append(open, log.joiner.Take()...)
	case !log.begun && log.stored != nil && log.stored.offset == 0 && log.stored.open != "":
		text, _, err := lineformat.DecodeOpen([]byte(log.stored.open))
		if err != nil {
			return err // it was checked when the position was
		}
		open, stored = append(open, text...), true
		log.stored.open = ""
	}
	if len(open) == 0 {
		return nil
	}
	if !f.precedes(log) { // any more, because it began empty
		e.linkLocked(f, log)
	}
	f.inherited, f.original = append(f.inherited, open...), log
	for _, from := range log.testators {
		from.heirInsteadLocked(log, f)
	}
	f.testators, log.inherited, log.testators = append(f.testators, log.testators...), nil, nil
	if stored { // until f is, too
		log.heirs = append(log.heirs, heir{f, open})
		f.testators = append(f.testators, log)
	}
	f.inherits = len(f.testators) > 0
	return nil
}

// truncatedUnseen says that the log of a file was truncated with something open, which the engine has not found yet: then the log does not wait for
// the file.
func (e *Engine) truncatedUnseen(f *file) bool {
	e.mu.Lock()
	log := e.logs[f.log]
	if log == nil || log == f || log.known.open == "" || f.precedes(log) {
		e.mu.Unlock()
		return false
	}
	path, p, held := log.path, log.known, log.held
	e.mu.Unlock()
	return held || e.changed(path, p)
}

// inheritanceStored forgets what a file has taken over where that was open before: it is in the position of this file now.
func (e *Engine) inheritanceStored(f *file) {
	if !f.inherits {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f.inherits = false
	e.releaseTestatorsLocked(f)
}

// releaseTestatorsLocked has the positions of those that have handed over what was open say that no more.
func (e *Engine) releaseTestatorsLocked(f *file) {
	for _, from := range f.testators {
		from.disinheritLocked(f)
		last := len(from.heirs) == 0
		switch {
		case from.retired:
			open := encodeOpen(from.bequeathed())
			for _, known := range []id{from.id, from.place.grave()} {
				if p, ok := e.stored[known]; ok && p.open != "" {
					p.open = open
					e.stored[known] = p
					e.Store.Put(known.key(), p.encode())
				}
			}
			if last {
				e.releaseTestatorsLocked(from)
			}
		case !from.reading && !from.begun && !last: // what is stored of it is not what the others have
		case !from.reading && from.onlyPassedOn():
			e.releaseTestatorsLocked(from)
		case !from.reading && !from.begun && from.stored != nil: // it waits for this one
			e.Store.Put(from.id.key(), from.stored.encode())
		case !from.reading && from.begun:
			from.handed = from.bequeathed()
			from.place.open = from.openLines() // with what has begun since
			from.savedOpen = from.place.open
			e.Store.Put(from.id.key(), from.place.encode())
		default:
			e.touchLocked(from) // its next turn does it
		}
	}
	f.testators = nil
}

// onlyPassedOn says that there is nothing to be stored of a file: it was not begun, and has handed over all that it had taken over.
func (f *file) onlyPassedOn() bool { return !f.begun && f.stored == nil && f.inherited == nil }

// giveBack returns what a file has taken over, and cannot go on with, to the one that has handed it over: then that has it again, as if the
// file had never been there. It returns busy where it has to be tried again, and given false where the file has to go on having it.
func (e *Engine) giveBack(f, to *file) (given, busy bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case f.inherited == nil || to.retired || len(f.successors) > 0 || !slices.Contains(f.testators, to):
		return false, false
	case to.reading:
		return false, true
	}
	to.inherited = append(to.inherited, f.inherited...)
	to.disinheritLocked(f)
	for _, from := range f.testators {
		if from != to {
			from.heirInsteadLocked(f, to)
			to.testators = append(to.testators, from)
		}
	}
	f.inherited, f.testators, f.inherits = nil, nil, false
	e.touchLocked(to)
	return true, false
}

// wantsOpen says that a compressed file has to wait for the file it is made of, once, to take over what is open there: after a restart only the
// compressed one is there.
func (e *Engine) wantsOpen(f, original *file) bool {
	if f.asked != nil || original == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if original.retired || original.known.offset == 0 || len(original.heirs) > 0 || original.awaitsLocked(f) {
		return false
	}
	f.wants, f.asked = original, original
	return true
}

// hasFrom says that the file has taken over what was open at the position, which is of a file that is not followed any more.
func (f *file) hasFrom(p *position) bool {
	return slices.ContainsFunc(f.testators, func(from *file) bool {
		return from.known.offset == p.offset && from.known.guard == p.guard && from.known.head == p.head
	})
}
