package filetail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// copyWindow is how much is compared at both ends of two files to tell that one is a copy of the other.
const copyWindow = 64 << 10

var (
	// errNotYet says that it is not known yet where to begin with a file.
	errNotYet = errors.New("what the file is will be seen")
	// errOthers is an errNotYet until other files are read.
	errOthers = fmt.Errorf("%w when others are read", errNotYet)
)

// origin finds where to begin with a file that was never read: behind what was already read of the same content. See the package comment for
// what is the same content.
func (e *Engine) origin(f *file) error {
	if f.codec != nil {
		return e.originOfCompressed(f)
	}
	root := family(f.at)
	if root == f.at {
		f.rewind()
		return nil
	}
	others := e.siblings(root, f)
	if len(others) == 0 {
		f.rewind()
		return nil
	}
	content, err := readAll(f.handle)
	if err != nil {
		return err
	}
	if content.size == 0 && f.gone.IsZero() {
		return errNotYet // a copy begins empty
	}
	copied, busy := false, false
	for _, other := range others {
		if other.isLog && content.compare(root, other.now.id) {
			copied = true
		}
	}
	var best position
	var original *file // which best.open was taken from
	for _, other := range others {
		// Of what is delivered just now the position is not known.
		busy = busy || other.busy && other.now.offset == 0
		for _, p := range []position{other.past, other.now} {
			if p.offset <= best.offset || p.head.size == 0 || p == other.now && copied {
				continue
			}
			if ok, err := f.holds(p, content.size); err != nil {
				return err
			} else if !ok {
				continue
			}
			unseen := p == other.now // that it was truncated, if it was
			switch {
			case unseen && other.busy:
				busy = true
			case unseen && !e.changed(other.at, p):
			case unseen && p.open != "" && !e.awaits(other.file, f):
				busy = true // it is about to find out, and then waits for its copies
			default:
				best, original = p, other.file
			}
		}
	}
	if best.offset > 0 {
		return e.beginBehind(f, best, original)
	}
	if busy || copied && e.waits(f, content.size) {
		return errOthers // the log may be truncated next
	}
	f.rewind()
	return nil
}

// beginBehind begins a copy of a log that was truncated behind what was read of its content.
func (e *Engine) beginBehind(f *file, best position, original *file) error {
	// The original was truncated, so the copy is whole; when it was looked at before, it may not have been.
	info, err := f.handle.Stat()
	if err != nil {
		return err
	}
	if ok, err := f.continues(best, info.Size()); err != nil {
		return err
	} else if !ok {
		return errOthers // it has changed meanwhile
	}
	e.takeOpen(f, original)
	return nil
}

// takeOpen has what was open in a log that was truncated go on in its copy f, where the log waits for that. Else the log has it.
func (e *Engine) takeOpen(f, original *file) {
	if f.place.open == "" {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !original.awaitsLocked(f) {
		f.place.open = ""
		return
	}
	f.original = original
	e.linkLocked(f, original)
}

// recall finds the log of which a file is a copy, where an earlier run has known that and has stored the copy: what is open in it at its end goes
// on in what is read between the two. The log may not have been found truncated yet in this run, because it waits for all of these.
func (e *Engine) recall(f *file) {
	log, p := e.recalled(f, f.place.offset)
	if log == nil {
		return
	}
	if ok, err := f.holds(p, f.place.offset); !ok || err != nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f.original = log
}

// mayRecall says that a file all of which was read by an earlier run has to be looked into for recall.
func (e *Engine) mayRecall(f *file) bool {
	if f.begun {
		return false
	}
	log, _ := e.recalled(f, f.stored.offset)
	return log != nil
}

// recalled returns the log of which a file may be a copy that was read up to an offset, and the position of the log; nil where it is none.
func (e *Engine) recalled(f *file, offset int64) (log *file, p position) {
	if !e.joined || offset == 0 {
		return nil, position{}
	}
	e.mu.Lock()
	log = e.logs[f.log]
	if log == nil || log == f || f.original != nil || !f.precedes(log) {
		e.mu.Unlock()
		return nil, position{}
	}
	path, p := log.path, log.known
	e.mu.Unlock()
	if p.offset == 0 || p.offset > offset || !e.changed(path, p) {
		return nil, position{}
	}
	return log, p
}

// awaits is awaitsLocked with the lock.
func (e *Engine) awaits(original, f *file) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return original.awaitsLocked(f)
}

// awaitsLocked says that a log, which was truncated, is not read on before its copy is.
func (f *file) awaitsLocked(copied *file) bool { return f.held || f.cut || copied.precedes(f) }

// sibling is what is known of another generation of a log.
type sibling struct {
	file      *file
	now, past position // past: before it was truncated
	at        string   // its path
	isLog     bool     // it is the log itself
	busy      bool     // now is just about to change
}

// siblings returns the other generations of the log with the path that are followed.
func (e *Engine) siblings(log string, f *file) (others []sibling) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for other := range e.kinOfLocked(log) {
		if other != f && !other.packed {
			s := sibling{other, other.known, other.past, other.path, e.logs[log] == other, other.reading}
			s.now.id = other.id
			others = append(others, s)
		}
	}
	return others
}

// changed says that the file with the position, which was last seen at a path, is there and has not the content that was read of it.
func (e *Engine) changed(path string, p position) bool {
	if info := fileAt(path, p.id); info == nil && !e.ByPath {
		if path = locate(path, p.id); path == "" {
			return false
		}
	}
	handle, err := os.Open(path)
	if err != nil {
		return false
	}
	defer handle.Close()
	if !e.ByPath && p.otherThan(bornOf(handle)) {
		return false
	}
	ok, err := (&file{handle: handle}).proves(p.guard, p.offset)
	return !ok && err == nil
}

// holds says whether a file holds what was read of its content under another id, or a part of that.
func (f *file) holds(p position, size int64) (bool, error) {
	if ok, err := f.proves(p.head, int64(p.head.size)); !ok || size < p.offset {
		return ok, err
	}
	return f.proves(p.guard, p.offset)
}

// waits says that it is worth waiting for what happens to the original of a copy: while the copy grows, and for the time that writers are
// given.
func (e *Engine) waits(f *file, size int64) bool {
	if size != f.waitSize {
		f.waitSize, f.grew = size, time.Now()
	}
	return time.Since(f.grew) < e.RotateWait
}

// continues begins a file behind what was read of its content under another id, if its content proves that.
func (f *file) continues(p position, size int64) (bool, error) {
	if p.offset == 0 || p.head.size == 0 {
		return false, nil
	}
	if ok, err := f.holds(p, size); !ok || err != nil {
		return false, err
	}
	if size < p.offset { // all of it was read, and more
		before, err := f.readBefore(size, guardSize)
		if err != nil {
			return false, err
		}
		f.place = f.placeOf(p)
		f.place.open = ""
		f.moveTo(size, before, 0)
		return true, nil
	}
	before, err := f.readBefore(p.offset, p.guard.size)
	if err != nil {
		return false, err
	}
	f.place = f.placeOf(p)
	copy(f.before[:], before)
	return true, nil
}

// placeOf makes a place in this file of the position of the file that had the content before.
func (f *file) placeOf(p position) position {
	p.id, p.path, p.at, p.born, p.packed, p.gone = f.id, f.name, "", f.born, 0, 0
	f.partial, f.saved = 0, -1
	return p
}

// window is the beginning and the end of a file.
type window struct {
	size       int64
	head, tail []byte
}

func readAll(f *os.File) (w window, err error) {
	info, err := f.Stat()
	if err != nil {
		return w, err
	}
	err = w.read(f, info.Size())
	return w, err
}

// read takes the window of the first size bytes.
func (w *window) read(f io.ReaderAt, size int64) error {
	length := min(size, copyWindow)
	buf := make([]byte, 2*length)
	w.size, w.head, w.tail = size, buf[:length], buf[length:]
	for offset, part := range map[int64][]byte{0: w.head, size - length: w.tail} {
		if n, err := f.ReadAt(part, offset); n < len(part) && err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

// compare says whether the file at the path is the one with the id, and begins with the same content.
func (w *window) compare(path string, known id) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() < w.size {
		return false
	}
	if found, err := idOf(f, info); err != nil || found != known {
		return false
	}
	var other window
	if other.read(f, w.size) != nil {
		return false
	}
	return bytes.Equal(w.head, other.head) && bytes.Equal(w.tail, other.tail)
}
