package filetail

import (
	"cmp"
	"context"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// A stored position whose file is nowhere is kept for goneAge, because the file may come back, or its content compressed; and no more
	// than goneMost of them are.
	goneAge  = 24 * time.Hour
	goneMost = 10_000
	// goneCheck is the time between two looks for the files of stored positions.
	goneCheck = time.Hour
)

// locate finds the path of a file beside the path that it had, empty for none.
func locate(path string, known id) string {
	dir := filepath.Dir(path)
	names, err := inodes(dir)
	if name, ok := names[known.inode]; ok && err == nil {
		if found := filepath.Join(dir, name); fileAt(found, known) != nil {
			return found
		}
	}
	return ""
}

// fileAt returns what is known of the file at a path, nil where that is not the one with the id.
func fileAt(path string, known id) fs.FileInfo {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if found, err := idOfPath(path, info); err != nil || found != known {
		return nil
	}
	return info
}

// recover looks for the files that an earlier run has read and that are not where the patterns look: what was written to them since then is
// read. Those that lie beside them with a newer generation of their name came and went meanwhile, and are read too.
func (d *discovery) recover(ctx context.Context) {
	if d.ByPath {
		return
	}
	d.checked = time.Now()
	byDir := make(map[string][]position)
	d.mu.Lock()
	for _, p := range d.stored {
		dir := filepath.Dir(p.where())
		byDir[dir] = append(byDir[dir], p)
	}
	d.mu.Unlock()
	for dir, positions := range byDir {
		if ctx.Err() != nil {
			return
		}
		names, err := inodes(dir)
		if err != nil && !missing(err) {
			continue // that proves nothing
		}
		for _, p := range positions {
			p, ok := d.replacedWhileDown(p, dir, names)
			if !ok {
				continue
			}
			path := filepath.Join(dir, names[p.id.inode])
			info := fileAt(path, p.id)
			d.mark(p, path, info)
			if !d.first {
				continue
			}
			if info == nil && p.onlyText() {
				d.followText(p)
			} else if info == nil {
				if info, path = d.resumeCompressed(p, dir, names); info == nil && p.open != "" && !d.packedHolds(p, dir, names) {
					d.followOpen(p)
				}
			} else if d.resumeAside(p, path, info) != nil {
				continue
			}
			if info != nil && path != p.path && family(path) == family(p.path) {
				d.missedGenerations(p, info, dir, names)
			}
		}
	}
}

// replacedWhileDown forgets the position of a file whose id the file system has given to another one. It returns the position that there is now, and
// false for none.
func (d *discovery) replacedWhileDown(p position, dir string, names map[uint64]string) (position, bool) {
	path := filepath.Join(dir, names[p.id.inode])
	if fileAt(path, p.id) == nil || !p.otherThan(bornAt(path, p.id)) {
		return p, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.stored[p.id]; !ok {
		return position{}, false
	}
	delete(d.stored, p.id)
	d.buryLocked(p)
	d.strangerLocked(p.path, p.id)
	p, ok := d.stored[p.grave()]
	return p, ok
}

// mark notes where the file of a stored position is, or since when it is nowhere.
func (d *discovery) mark(p position, path string, info fs.FileInfo) {
	changed := p
	if info == nil {
		changed.gone = cmp.Or(p.gone, time.Now().Unix())
	} else {
		changed.gone, changed.at = 0, path
	}
	if changed.at == changed.path {
		changed.at = ""
	}
	if changed == p {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.stored[p.id]; ok {
		d.stored[p.id] = changed
		d.Store.Put(p.id.key(), changed.encode())
	}
}

// resumeAside follows a file that is not where the patterns look, if something may have been written to it.
func (d *discovery) resumeAside(p position, path string, info fs.FileInfo) error {
	if p.open == "" && info.Size() == cmp.Or(p.packed, p.offset) && time.Since(info.ModTime()) > d.RotateWait {
		return nil
	}
	return d.followAside(&file{id: p.id, name: p.path, path: path}, info)
}

// compressedBeside returns the compressed files in a directory that a file may have become.
func (d *discovery) compressedBeside(p position, dir string, names map[uint64]string) iter.Seq2[*file, fs.FileInfo] {
	return func(yield func(*file, fs.FileInfo) bool) {
		if d.Compression == CompressionNone {
			return
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			if !compressedExt(filepath.Ext(name)) || family(path) != family(p.path) {
				continue
			}
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if known, err := idOfPath(path, info); err == nil && !yield(&file{id: known, name: p.path, path: path}, info) {
				return
			}
		}
	}
}

// resumeCompressed follows the compressed file that a file has become, if there is one beside it.
func (d *discovery) resumeCompressed(p position, dir string, names map[uint64]string) (fs.FileInfo, string) {
	if p.gone != 0 && p.open == "" {
		return nil, ""
	}
	for f, info := range d.compressedBeside(p, dir, names) {
		if d.known(f.path, f.id) {
			continue
		}
		if f.born = bornAt(f.path, f.id); d.followCopy(f, info, p) != nil {
			return info, f.path
		}
	}
	return nil, ""
}

// packedHolds says that a compressed file beside a file that is nowhere, which was found already and never read, has the content that was read of that:
// it goes on with what was open there.
func (d *discovery) packedHolds(p position, dir string, names map[uint64]string) bool {
	for f, info := range d.compressedBeside(p, dir, names) {
		d.mu.Lock()
		followed := d.files[f.id]
		fresh := followed != nil && followed.stored == nil
		d.mu.Unlock()
		if !fresh {
			continue
		}
		if _, ok := d.goesOn(f, info.Size(), p); ok {
			return true
		}
	}
	return false
}

func (d *discovery) followAside(f *file, info fs.FileInfo) error {
	if err := d.openFresh(f, info); err != nil {
		return err
	}
	f.born = f.birth()
	d.add(f, info)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detachLocked(f)
	return nil
}

// followText follows a file that is nowhere, for the text that it was left: it goes on in the next file of the log, or comes as it is.
func (d *discovery) followText(p position) {
	f := &file{id: p.id, name: p.path, path: p.where(), born: p.born, nowhere: true}
	d.add(f, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.detachLocked(f)
}

// followOpen takes what was open in a file that is nowhere out of its position: the text that stands there goes on by itself. What was in the file only
// is lost, unless that comes back.
func (d *discovery) followOpen(p position) {
	open, _, err := lineformat.DecodeOpen([]byte(p.open))
	if err != nil {
		return // it was checked when the position was
	}
	deleted := p.id.device&graveyard != 0
	if p.opensHere() && (deleted || p.gone == 0) {
		d.gap(&file{name: p.path}, "A file is gone before a line or record that began in it was delivered")
	}
	d.mu.Lock()
	rest, ok := d.stored[p.id]
	if !ok {
		d.mu.Unlock()
		return
	}
	var here, texts []lineformat.Open
	for _, o := range open {
		if o.At >= 0 {
			here = append(here, o)
		} else {
			texts = append(texts, o)
		}
	}
	left := position{id: p.id, path: rest.path, at: rest.at, born: rest.born, gone: rest.gone}
	left.id = left.grave()
	follow := slices.ContainsFunc(texts, func(o lineformat.Open) bool { return len(o.Text) > 0 })
	if follow {
		left.open = encodeOpen(texts)
		d.stored[left.id] = left
		d.Store.Put(left.id.key(), left.encode()) // before it is in the other one no more
	}
	if deleted {
		rest.open = ""
		delete(d.stored, rest.id)
		d.buryLocked(rest) // again, if there is still something to be remembered
		d.strangerLocked(rest.path, rest.id)
	} else {
		rest.open = encodeOpen(here)
		d.stored[rest.id] = rest
		d.Store.Put(rest.id.key(), rest.encode())
	}
	d.mu.Unlock()
	if follow {
		d.followText(left)
	}
}

// missedGenerations follows the files that have the name of a generation of the log that p belongs to, and were written after it.
func (d *discovery) missedGenerations(p position, old fs.FileInfo, dir string, names map[uint64]string) {
	for _, name := range names {
		if path := filepath.Join(dir, name); path != p.path && family(path) == family(p.path) {
			d.missedGeneration(path, p.path, old.ModTime())
		}
	}
}

// known says that the file at a path is followed, or was and is done with; or its id is of another one, which has to end first.
func (d *discovery) known(path string, known id) bool {
	d.replacedUnseen(known, path)
	d.mu.Lock()
	p, stored := d.stored[known]
	followed := d.files[known] != nil
	d.mu.Unlock()
	return followed || stored && (d.ByPath || !p.otherThan(bornAt(path, known)))
}

// expire forgets positions whose files are gone for long, and the oldest of them where there are too many.
func (d *discovery) expire(ctx context.Context) {
	if time.Since(d.checked) > goneCheck {
		d.recover(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone []position
	for _, p := range d.stored {
		if p.gone != 0 {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, func(a, b position) int { return cmp.Compare(a.gone, b.gone) })
	limit := time.Now().Add(-goneAge).Unix()
	for i, p := range gone {
		if p.gone > limit && len(gone)-i <= goneMost {
			break
		}
		delete(d.stored, p.id)
		d.strangerLocked(p.path, p.id)
		d.Store.Delete(p.id.key())
	}
}

// storedLocked takes the stored position of a file, if it has one. The number of a device may change with a reboot: a file with the same
// inode at the same path is then taken for the one that was read, which its content has to prove.
func (e *Engine) storedLocked(f *file) (position, bool) {
	p, ok := e.stored[f.id]
	if !ok {
		old := e.byInode[f.id.inode]
		if p, ok = e.stored[old]; !ok || p.where() != f.path || p.head.size == 0 {
			return position{}, false
		}
		e.Store.Delete(old.key())
		delete(e.stored, old)
		e.strangerLocked(p.path, old)
	}
	delete(e.stored, f.id)
	if p.otherThan(f.born) {
		e.buryLocked(p) // the file system has given the id to a new file
		e.strangerLocked(p.path, f.id)
		return position{}, false
	}
	if p.id != f.id {
		p.id = f.id
		e.Store.Put(f.id.key(), p.encode())
	}
	return p, true
}

// buryLocked forgets the position of a file that is deleted, and remembers what was read of its content.
func (e *Engine) buryLocked(p position) {
	e.Store.Delete(p.id.key())
	e.rememberLocked(p)
}

// rememberLocked keeps what was read of content that no file has any more, where it may come back compressed, and what was open in it: under an id that
// no file has.
func (e *Engine) rememberLocked(p position) {
	if p.open == "" && (e.Compression == CompressionNone || p.offset == 0) {
		return
	}
	p.id = p.grave()
	p.gone = cmp.Or(p.gone, time.Now().Unix())
	e.stored[p.id] = p
	e.kinLocked(p.path, p.id)
	e.Store.Put(p.id.key(), p.encode())
}

// grave is the id of a position the file of which is deleted.
func (p *position) grave() id { return id{graveyard | uint64(p.born) ^ p.guard.hash>>1, p.id.inode} }

// graveyard marks the device of positions whose files are deleted.
const graveyard = 1 << 63

// markPatterns stores that the patterns were looked for: what the next run finds by them and does not know is new. That has to wait until
// the positions of all files are stored that begin at their end, for those are not new.
func (d *discovery) markPatterns() {
	if !d.unmarked {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		if f.atEnd && f.known.id == (id{}) {
			return
		}
	}
	d.unmarked = false
	for _, p := range d.patterns {
		if marker := p.marker(d.Exclude); !d.marked[marker] {
			d.marked[marker] = true
			d.Store.Put(marker, []byte{1})
		}
	}
}
