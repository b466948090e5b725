package dockerstream

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// PositionFormat is the version of what AppendBinary writes.
const PositionFormat = 1

// bits of a stored line beside its stamp
const (
	bitStderr = 1 << iota
	bitParts  // full and cut follow: it is not one whole piece
	lineBits  = 2
)

var errPosition = errors.New("position is damaged")

// AppendBinary appends the window to b. Times are varints, each after the first as a difference to the one before:
//
//	newest, floor of stdout, floor of stderr, start of the run read
//	per stream: stamp of the last cut line; hash (8 bytes, 0: none), and with one: stamp of the open line
//	number of lines, and per line: difference of stamps <<2 | bits, hash (8 bytes), and with bitParts: full, cut
func (w *Window) AppendBinary(b []byte) []byte {
	const head, usual = 96, 13 // bytes: what precedes the lines, and what a line takes
	b = slices.Grow(b, head+usual*len(w.lines))
	b = binary.AppendVarint(b, w.newest)
	b = binary.AppendVarint(b, w.newest-w.floor[0])
	b = binary.AppendVarint(b, w.newest-w.floor[1])
	b = binary.AppendVarint(b, w.read)
	for s, o := range w.open {
		b = binary.AppendVarint(b, w.newest-w.cut[s])
		b = binary.LittleEndian.AppendUint64(b, o.hash)
		if o.hash != 0 {
			b = binary.AppendVarint(b, w.newest-o.stamp)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(w.lines)))
	last := w.newest
	for i := range w.lines {
		line := &w.lines[i]
		flags := int64(0)
		if line.stderr {
			flags |= bitStderr
		}
		if line.full != 1 || line.cut != 0 {
			flags |= bitParts
		}
		b = binary.AppendVarint(b, (line.stamp-last)<<lineBits|flags)
		b = binary.LittleEndian.AppendUint64(b, line.hash)
		if flags&bitParts != 0 {
			b = binary.AppendUvarint(b, uint64(line.full))
			b = binary.AppendUvarint(b, uint64(line.cut))
		}
		last = line.stamp
	}
	return b
}

// ParseWindow reads what AppendBinary wrote. It takes any bytes without harm.
func ParseWindow(b []byte) (Window, error) {
	r := reader{rest: b}
	var w Window
	w.newest = r.varint()
	w.floor[0] = w.newest - r.varint()
	w.floor[1] = w.newest - r.varint()
	w.read = r.varint()
	for s := range w.open {
		w.cut[s] = w.newest - r.varint()
		if w.open[s].hash = r.fixed(); w.open[s].hash != 0 {
			w.open[s].stamp = w.newest - r.varint()
		}
	}
	n := r.uvarint()
	const smallest = 9 // bytes of a stored line
	if r.bad || n > uint64(len(r.rest)/smallest) || w.newest < 0 || w.floor[0] < 0 || w.floor[1] < 0 {
		return Window{}, errPosition
	}
	w.lines = make([]delivered, n)
	last := w.newest
	for i := range w.lines {
		line := &w.lines[i]
		head := r.varint()
		line.stamp = last + head>>lineBits
		line.stderr = head&bitStderr != 0
		line.hash = r.fixed()
		line.full = 1
		if head&bitParts != 0 {
			line.full, line.cut = r.uint32(), r.uint32()
		}
		last = line.stamp
		w.last[line.side()] = max(w.last[line.side()], line.stamp)
	}
	if r.bad || len(r.rest) != 0 {
		return Window{}, errPosition
	}
	return w, nil
}

// reader takes numbers off the front of bytes; bad says that some were missing or too large.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (r *reader) fixed() uint64 {
	if len(r.rest) < 8 {
		r.skip(0)
		return 0
	}
	v := binary.LittleEndian.Uint64(r.rest)
	r.skip(8)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
}
