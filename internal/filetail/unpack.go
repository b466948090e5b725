package filetail

import (
	"errors"
	"io"
	"time"
)

// unpackers bounds the compressed files that are read at a time, because each of them takes memory for what was last read of it.
type unpackers struct {
	limit, used int
	waiting     []*file
}

// errNoUnpacker says that a compressed file has to wait for others.
var errNoUnpacker = errors.New("too many compressed files are read")

// unpack finds out whether a file is compressed, and prepares reading it. The error is errNotYet where it has to wait for itself, and
// errNoUnpacker where for others.
func (r *reader) unpack(f *file) error {
	e := r.engine
	if e.Compression == CompressionNone || f.plain {
		return nil
	}
	if f.codec == nil {
		kind, ok, err := compression(e.Compression, f.handle)
		switch {
		case err != nil:
			return err
		case !ok && f.lastSize == 0 && (f.at == family(f.at) || f.stored != nil && f.stored.offset == 0):
			return nil // an empty log begins as any other does: what others have left open goes on in it, or is flushed
		case !ok && !r.quiet(f):
			return errNotYet
		case kind == CompressionNone:
			f.plain = true
			return nil
		}
		f.codec = &codec{kind: kind}
	}
	f.codec.file = f.handle
	if f.codec.tooEarly(f.lastSize) && f.gone.IsZero() {
		return errNotYet
	}
	if !e.takeUnpacker(f) {
		return errNoUnpacker
	}
	return nil
}

// tooEarly says that the data, which were cut off when they were last read, are not worth reading yet: reading them again takes its time.
func (c *codec) tooEarly(size int64) bool {
	return c.cut != 0 && (size == c.cut || time.Now().Before(c.again))
}

// read reads a block of content. Data that are cut off end there for now; of corrupt ones what comes before the fault is returned, and the
// error next time.
func (c *codec) read(block []byte, offset int64, size int64) (n int, err error) {
	began := time.Now()
	n, err = c.ReadAt(block, offset)
	c.cut = 0
	switch {
	case errors.Is(err, errUnfinished):
		c.cut, c.again = size, time.Now().Add(time.Since(began)*pollShare)
		return n, nil
	case err != nil && !errors.Is(err, io.EOF) && n > 0:
		c.fault = err
		return n, nil
	}
	return n, err
}

// takeUnpacker takes one of the few places for compressed files, or notes that the file waits for one.
func (e *Engine) takeUnpacker(f *file) bool {
	if f.unpacking {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.unpackers.used >= e.unpackers.limit {
		e.unpackers.waiting = append(e.unpackers.waiting, f)
		return false
	}
	e.unpackers.used++
	f.unpacking = true
	return true
}

// packAway ends the turns of a compressed file.
func (e *Engine) packAway(f *file) {
	if !f.unpacking {
		return
	}
	f.codec.stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	f.unpacking = false
	e.unpackers.used--
	for len(e.unpackers.waiting) > 0 {
		next := e.unpackers.waiting[0]
		e.unpackers.waiting = e.unpackers.waiting[1:]
		if !next.retired {
			e.touchLocked(next)
			break
		}
	}
}

// allRead says that all of a compressed file was read, and nothing has come since.
func (f *file) allRead() bool {
	p := &f.place
	if !f.begun && f.stored != nil {
		p = f.stored
	}
	return p.packed != 0 && p.packed == f.lastSize && p.open == "" && f.inherited == nil
}

// finish notes how much of a compressed file was read.
func (f *file) finish() {
	if c := f.codec; c != nil && c.whole {
		if f.patient = f.partial > 0; !f.patient {
			f.place.packed = c.packed
		}
	}
}

// readSize is the size of a file all of which was read.
func (f *file) readSize() int64 {
	if f.codec != nil {
		return f.place.packed
	}
	return f.place.offset
}
