package filetail

import (
	"cmp"
	"errors"
	"slices"
)

// originOfCompressed finds the position in the content of a compressed file up to which it was read before it was compressed.
func (e *Engine) originOfCompressed(f *file) error {
	candidates, unread := e.candidates(f)
	if unread && e.waits(f, f.lastSize) {
		return errOthers // what it is made of may be about to be read
	}
	f.rewind()
	proved := candidates[:0]
	for _, c := range candidates { // first all of the beginning, then the places in their order: the content is gone through once
		ok, err := f.proves(c.head, int64(c.head.size))
		switch {
		case errors.Is(err, errUnfinished):
			return errNotYet
		case ok && c.busy:
			return errOthers
		case ok:
			proved = append(proved, c)
		}
	}
	var best candidate
	for _, c := range proved {
		ok, err := f.proves(c.guard, c.offset)
		if errors.Is(err, errUnfinished) {
			return errNotYet
		}
		if ok {
			best = c
		}
	}
	if best.offset == 0 {
		return nil
	}
	switch {
	case best.open != "" && best.isLog && e.truncatedUnseen(f):
		return errOthers // it is about to find out, and then waits for its copies
	case best.original == nil && f.hasFrom(&best.position):
		best.open = ""
	case best.open != "" && e.wantsOpen(f, best.original):
		return errOthers
	}
	_, err := f.continues(best.position, 1<<62)
	if best.original != nil {
		e.takeOpen(f, best.original)
	}
	return err
}

// candidate is a position that a compressed file may go on at.
type candidate struct {
	position
	busy     bool  // it is just about to change
	original *file // which has that position, or had it before it was truncated; nil for one that is not followed
	isLog    bool  // original is the log itself
}

// candidates are the positions of the generations of the log that a file belongs to by its name, in their order in the content. unread says that
// there are some that nothing was read of yet.
func (e *Engine) candidates(f *file) (all []candidate, unread bool) {
	key := family(f.at)
	e.mu.Lock()
	defer e.mu.Unlock()
	ids := e.kin[key]
	kept := ids[:0]
	remembered := make(map[id]bool) // of what followed ones have, or had before they were truncated: those say what is open, too
	for _, known := range ids {
		p, ok := e.stored[known]
		busy := false
		var original *file
		if other := e.files[known]; other != nil && other.log == key {
			p, ok, busy, original = other.known, true, other.reading, other
			unread = unread || other != f && !other.packed && p.offset == 0 && other.waitsFor == 0 && other.size > 0
			if p.offset == 0 {
				p = other.past
			}
			remembered[p.grave()] = true
		}
		if !ok {
			continue
		}
		kept = append(kept, known)
		if p.offset > 0 && p.head.size > 0 && known != f.id && p.packed == 0 {
			all = append(all, candidate{p, busy, original, original != nil && original == e.logs[key]})
		}
	}
	e.kin[key] = kept
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.original == nil && remembered[c.id] })
	// Of equal places the last one counts: what was open in a log is in its copy, where there is one.
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), compareBool(b.isLog, a.isLog))
	})
	return all, unread
}
