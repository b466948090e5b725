package filetail

import (
	"cmp"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxBeside bounds how often a directory is looked at in a row: rotations may go on meanwhile.
const maxBeside = 4

// lookBeside looks for more generations of the logs of which some were found: the rotation that has made one has moved the others, and
// they are to be read in their order. So it goes on until nothing is found that was not known.
func (d *discovery) lookBeside() {
	defer clear(d.slipped)
	for range maxBeside {
		appeared := d.appeared
		d.appeared = nil
		if len(appeared) == 0 {
			return
		}
		logs := make(map[*directory]map[string]sought)
		d.mu.Lock()
		for _, ent := range appeared {
			log := family(ent.path())
			replaced := ent.file.replaced
			if !ent.here && ent.path() == log { // others may have come there and gone too
				replaced = ent.file
			}
			moved := replaced != nil || d.relatedLocked(log) || d.slipped[log]
			if !moved && (!ent.here || ent.path() != log) {
				continue
			}
			if logs[ent.dir] == nil {
				logs[ent.dir] = make(map[string]sought)
			}
			generations := logs[ent.dir][log]
			generations.moved = generations.moved || moved
			if replaced != nil && replaced.log == log {
				generations.since = replaced.modified
			}
			logs[ent.dir][log] = generations
		}
		d.mu.Unlock()
		for dir, logs := range logs {
			d.lookAtGenerations(dir, logs)
		}
	}
	d.appeared = nil
}

// relatedLocked says that more than one file is a generation of the log with the path.
func (e *Engine) relatedLocked(log string) bool {
	followed := 0
	for range e.kinOfLocked(log) {
		followed++
	}
	return followed > 1
}

// kinOfLocked returns the followed generations of the log with the path.
func (e *Engine) kinOfLocked(log string) iter.Seq[*file] {
	return func(yield func(*file) bool) {
		for _, known := range e.kin[log] {
			// An id may have been given to a file of another log since.
			if f := e.files[known]; f != nil && f.log == log && !yield(f) {
				return
			}
		}
	}
}

// sought says which generations of a log are looked for.
type sought struct {
	moved bool      // also where some are known: they may be others by now. Else the log is new, and may not have been the first of its name
	since time.Time // also those that no pattern matches, and that were written since then
}

// lookAtGenerations looks at names in a directory that belong to one of the logs. Generations that no pattern matches came and went unseen: they
// are followed too.
func (d *discovery) lookAtGenerations(dir *directory, logs map[string]sought) {
	names, err := listing(orDot(dir.path))
	if err != nil || dir.dropped() {
		return
	}
	for _, name := range names {
		path := join(dir.path, name)
		log := family(path)
		generations, ok := logs[log]
		if known := dir.entries[name]; !ok || !generations.moved && known != nil && known.here {
			continue
		}
		if child := d.lookAt(dir, name); child != nil && child.id == (id{}) {
			d.schedule(child, true)
		}
		if !generations.since.IsZero() && path != log && dir.entries[name] == nil && !d.ByPath {
			d.missedGeneration(path, log, generations.since)
		}
	}
}

// missedGeneration follows the file at a path as a generation of the log with the name, if it is not known and was changed since then.
func (d *discovery) missedGeneration(path, name string, since time.Time) {
	if d.Compression == CompressionNone && compressedExt(filepath.Ext(path)) {
		return
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.ModTime().Before(since) {
		return
	}
	known, err := idOfPath(path, info)
	if err != nil {
		return
	}
	if _, doubt := d.replacedUnseen(known, path); doubt {
		d.miss(known, name, since)
	} else if !d.known(path, known) {
		d.unreadable(path, d.followAside(&file{id: known, name: name, path: path}, info))
	}
}

// settle lets the files that a look has found be read: those of one log in the order of their last changes, each from where the tail of
// the ones before it has been read.
func (d *discovery) settle() {
	d.lookBeside()
	if len(d.fresh) == 0 {
		return
	}
	fresh := d.fresh
	d.fresh = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	logs := make(map[string][]*file)
	for _, f := range fresh {
		if logs[f.log] == nil {
			logs[f.log] = d.generationsLocked(f.log)
		}
	}
	for _, generations := range logs {
		d.chainLocked(generations)
	}
	for _, f := range fresh {
		d.linkLocked(f.replaced, f)
		f.replaced, f.held = nil, false
		d.idleLocked(f)
		d.touchLocked(f)
	}
}

// generationsLocked returns the followed files of the log with the path, oldest first.
func (e *Engine) generationsLocked(log string) (all []*file) {
	all = slices.AppendSeq(all, e.kinOfLocked(log))
	slices.SortFunc(all, func(a, b *file) int {
		return cmp.Or(
			compareBool(a.links > 0 && a.path == log, b.links > 0 && b.path == log), // the log itself is written now
			a.modified.Compare(b.modified),
			compareNames(b.path, a.path),
		)
	})
	return packedBehind(all)
}

// packedBehind moves a compressed file right behind the one it is made of, from which it takes over what is open there. It may have the time of that,
// or that of its last write, while it is written: what it holds is as old as the other one.
func packedBehind(all []*file) []*file {
	for _, packed := range slices.Clone(all) {
		ext := filepath.Ext(packed.path)
		if !compressedExt(ext) {
			continue
		}
		plain, from := strings.TrimSuffix(packed.path, ext), slices.Index(all, packed)
		for to, f := range all {
			// What is not at the path any more may be another one, of which only the time tells.
			if f.path == plain && (f.links > 0 || to > from) {
				if all = slices.Delete(all, from, from+1); to < from {
					to++
				}
				all = slices.Insert(all, to, packed)
				break
			}
		}
	}
	return all
}

// chainLocked has each new generation of a log wait for the one before it, and one that nothing was read of yet for new ones that are older.
func (e *Engine) chainLocked(generations []*file) {
	var before, fresh *file
	for i, f := range generations {
		if f.held || !f.started {
			e.linkLocked(fresh, f)
		}
		if f.held {
			if before != fresh {
				e.linkLocked(before, f)
			}
			for _, heir := range generations[:i] {
				// What was open in a file is in the compressed one that was made of it, and goes on here.
				if len(heir.testators) > 0 || heir.packed && heir.known.open != "" {
					e.linkLocked(heir, f)
				}
			}
			fresh = f
		}
		before = f
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareNames compares names whose numbers may differ in length.
func compareNames(a, b string) int {
	const digits = "0123456789"
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	for i > 0 && strings.Contains(digits, a[i-1:i]) {
		i--
	}
	number := func(s string) int { return len(s) - len(strings.TrimLeft(s, digits)) }
	if n, m := number(a[i:]), number(b[i:]); n > 0 && m > 0 && n != m {
		return cmp.Compare(n, m)
	}
	return cmp.Compare(a[i:], b[i:])
}

// linkLocked has f wait until what before holds now has been read.
func (e *Engine) linkLocked(before, f *file) {
	if before == nil || before == f || before.retired || f.precedes(before) {
		return
	}
	if before.hasSuccessor(f) {
		return
	}
	f.waitsFor++
	before.successors = append(before.successors, successor{file: f})
	before.again = before.again || before.held
	e.touchLocked(before)
}

// hasSuccessor says that another file waits for this one.
func (f *file) hasSuccessor(other *file) bool {
	return slices.ContainsFunc(f.successors, func(s successor) bool { return s.file == other })
}

// precedes says that another file waits for this one, if only by those between them.
func (f *file) precedes(other *file) bool {
	if len(f.successors) == 0 {
		return false
	}
	behind := []*file{f}
	seen := map[*file]bool{f: true} // there may be very many ways from one to another
	for len(behind) > 0 {
		last := behind[len(behind)-1]
		behind = behind[:len(behind)-1]
		for _, s := range last.successors {
			if s.file == other {
				return true
			}
			if !seen[s.file] {
				seen[s.file] = true
				behind = append(behind, s.file)
			}
		}
	}
	return false
}
