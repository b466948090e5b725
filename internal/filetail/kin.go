package filetail

import "slices"

// kinLocked notes that a file or a position belongs to a generation of the log with the path.
func (e *Engine) kinLocked(path string, known id) {
	key := family(path)
	if !slices.Contains(e.kin[key], known) {
		e.kin[key] = append(e.kin[key], known)
	}
}

// nameLocked says under which path a file was found first.
func (e *Engine) nameLocked(f *file, path string) {
	old := f.log
	if f.name, f.log = path, family(path); f.log == path {
		f.log = path // one text in memory
	}
	if old != "" && old != f.log {
		e.strangerLocked(old, f.id)
	}
	e.kinLocked(f.log, f.id)
}

// strangerLocked is the reverse of kinLocked, for what is neither followed nor stored any more.
func (e *Engine) strangerLocked(path string, known id) {
	key := family(path)
	if f := e.files[known]; f != nil && f.log == key || e.stored[known].id != (id{}) {
		return
	}
	kin := slices.DeleteFunc(e.kin[key], func(other id) bool { return other == known })
	if len(kin) == 0 {
		delete(e.kin, key)
	} else {
		e.kin[key] = kin
	}
}
