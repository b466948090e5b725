package lineformat

import (
	"encoding/binary"
	"errors"
	"time"
)

// Open is what is open of one stream, as far as it has to be known to go on after a restart.
type Open struct {
	Stream Stream
	// At is the place of the entry with which it begins, and Skip how many bytes of the stream's text to pass over from there on. At is -1
	// where no text is open, or the text is in another source and so stands here.
	At   int64
	Skip int
	// Passed is how many bytes of the line that begins there belong to groups that are emitted.
	Passed int
	// Text is of a line, or of a group where that flag is set; Time is its time.
	Text  []byte
	Time  int64
	flags uint8
}

const (
	flagLineContinued uint8 = 1 << iota
	flagLineDropping
	flagGroupContinued
	flagGroupDropping
	flagGroup // the text is of a group
	flagText  // there is text, or an empty line
	flagCut
	flagMalformed
)

func flag(set bool, flag uint8) uint8 {
	if set {
		return flag
	}
	return 0
}

// Open appends what is open. Without the joiner, it is enough to go on with what follows the last entry.
func (j *Joiner) Open(all []Open) []Open {
	for i := range j.streams {
		s := &j.streams[i]
		id := Stream(i) //nolint:gosec // three
		l, g := &s.line, &s.group
		o := Open{Stream: id, At: elsewhere, flags: flag(l.continued, flagLineContinued) | flag(l.dropping, flagLineDropping) |
			flag(g.continued, flagGroupContinued) | flag(g.dropping, flagGroupDropping)}
		if g.open && g.at == elsewhere {
			all = append(all, g.written(id, flagGroup))
		}
		if l.open && l.at == elsewhere {
			all = append(all, l.written(id, 0))
		}
		switch {
		case g.open && g.at != elsewhere:
			// The line that is open is behind the beginning of the group, and is found again with it.
			o.At, o.Skip, o.Passed = g.at, g.skip, g.passed
			o.flags = flag(g.inside, flagLineContinued) | flag(g.continued, flagGroupContinued)
		case l.open && l.at != elsewhere:
			o.At, o.Skip = l.at, l.skip
		}
		if o.At != elsewhere || o.flags != 0 {
			all = append(all, o)
		}
	}
	return all
}

func (p *part) written(id Stream, flags uint8) Open {
	return Open{
		Stream: id, At: elsewhere, Text: p.text, Time: p.time,
		flags: flags | flagText | flag(p.cut, flagCut) | flag(p.malformed, flagMalformed) |
			flag(p.continued, flagLineContinued|flagGroupContinued),
	}
}

// Restore makes a joiner, which is new, go on where another was when that said what was open. The places before frontier have been
// taken. It returns the place from which on entries have to be added again, frontier for none; and texts in the place of which there is
// another, which several sources have left to this one: they are for [Joiner.TakeOver] when that is done.
func (j *Joiner) Restore(open []Open, frontier int64, now time.Time) (from int64, more []Open) {
	from = frontier
	for i := range j.streams {
		j.streams[i].from = frontier
	}
	for _, o := range open {
		s := &j.streams[o.Stream]
		switch {
		case o.flags&flagText != 0:
			if !s.restore(&o, now) {
				more = append(more, o)
			}
			continue
		case o.At != elsewhere:
			s.from, s.skip, s.passed = o.At, o.Skip, o.Passed
			from = min(from, o.At)
		}
		s.mark(&o, now)
	}
	return from, more
}

// mark notes how a stream goes on, where it has no text that says that already.
func (s *stream) mark(o *Open, now time.Time) {
	if !s.line.open {
		s.line.continued, s.line.dropping = o.flags&flagLineContinued != 0, o.flags&flagLineDropping != 0
		s.line.touched = now
	}
	if !s.group.open {
		s.group.continued, s.group.dropping = o.flags&flagGroupContinued != 0, o.flags&flagGroupDropping != 0
		s.group.touched = now
	}
}

// restore takes over a text. It returns false where there is another in its place.
func (s *stream) restore(o *Open, now time.Time) bool {
	p, continued := &s.line, flagLineContinued
	if o.flags&flagGroup != 0 {
		p, continued = &s.group, flagGroupContinued
	}
	if p.open || p.dropping {
		return false
	}
	*p = part{
		open: true, at: elsewhere, time: o.Time, text: append([]byte(nil), o.Text...), touched: now,
		continued: o.flags&continued != 0, cut: o.flags&flagCut != 0, malformed: o.flags&flagMalformed != 0,
	}
	return true
}

// TakeOver goes on with what was open in another source. What cannot go on, because here something else has begun, is emitted.
func (j *Joiner) TakeOver(open []Open, now time.Time) {
	for _, o := range open {
		s := &j.streams[o.Stream]
		text := o.flags&flagText != 0
		switch {
		case text && !s.restore(&o, now):
			j.record = Record{
				Text: o.Text, Time: o.Time, At: elsewhere, Stream: o.Stream, Truncated: true,
				Continued: o.flags&(flagLineContinued|flagGroupContinued) != 0, Malformed: o.flags&flagMalformed != 0,
			}
			j.Emit(&j.record)
		case !text:
			s.mark(&o, now)
		}
	}
}

// Take returns what is open with its text, for the joiner of a source that goes on where this one ends, and forgets it.
func (j *Joiner) Take() []Open {
	for i := range j.streams {
		j.streams[i].line.at, j.streams[i].group.at = elsewhere, elsewhere
	}
	open := j.Open(nil)
	for i := range open {
		open[i].Text = append([]byte(nil), open[i].Text...)
	}
	for i := range j.streams {
		j.streams[i].line.clear()
		j.streams[i].group.clear()
	}
	return open
}

// Held returns how many bytes of memory the open texts take.
func (j *Joiner) Held() (size int) {
	for i := range j.streams {
		size += cap(j.streams[i].line.text) + cap(j.streams[i].group.text)
	}
	return size
}

// Oldest returns the place where the oldest of what is open begins, and false where nothing is that is in this source.
func (j *Joiner) Oldest() (at int64, ok bool) {
	for i := range j.streams {
		for _, p := range []*part{&j.streams[i].line, &j.streams[i].group} {
			if p.open && p.at != elsewhere && (!ok || p.at < at) {
				at, ok = p.at, true
			}
		}
	}
	return at, ok
}

// AppendOpen appends what is open in the form that [DecodeOpen] reads: the number of them, and for each its numbers as varints and
// the text with its length before it.
func AppendOpen(buf []byte, open []Open) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(open)))
	for _, o := range open {
		buf = append(buf, byte(o.Stream), o.flags)
		buf = binary.AppendVarint(buf, o.At)
		buf = binary.AppendUvarint(buf, uint64(o.Skip))   //nolint:gosec // not negative
		buf = binary.AppendUvarint(buf, uint64(o.Passed)) //nolint:gosec // not negative
		buf = binary.AppendVarint(buf, o.Time)
		buf = binary.AppendUvarint(buf, uint64(len(o.Text)))
		buf = append(buf, o.Text...)
	}
	return buf
}

// mostOpen bounds what is decoded. A joiner has nine at most; a file that several others have left theirs to has more.
const mostOpen = 4096

var errOpen = errors.New("stored open lines are cut or out of range")

// DecodeOpen reads what AppendOpen has written at the beginning of buf, and returns what is behind it.
func DecodeOpen(buf []byte) (open []Open, rest []byte, err error) {
	bad := false
	varint := func() int64 {
		v, n := binary.Varint(buf)
		if bad = bad || n <= 0; bad {
			return 0
		}
		buf = buf[n:]
		return v
	}
	uvarint := func(limit uint64) int {
		v, n := binary.Uvarint(buf)
		if bad = bad || n <= 0 || v > limit; bad {
			return 0
		}
		buf = buf[n:]
		return int(v) //nolint:gosec // within the limit
	}
	for n := uvarint(mostOpen); n > 0 && !bad; n-- {
		if len(buf) < 2 || buf[0] > byte(Stderr) {
			return nil, nil, errOpen
		}
		o := Open{Stream: Stream(buf[0]), flags: buf[1]}
		buf = buf[2:]
		o.At, o.Skip, o.Passed, o.Time = varint(), uvarint(1<<40), uvarint(1<<40), varint()
		if size := uvarint(uint64(len(buf))); !bad && size <= len(buf) && o.At >= elsewhere {
			o.Text, buf = append([]byte(nil), buf[:size]...), buf[size:]
		} else {
			bad = true
		}
		open = append(open, o)
	}
	if bad {
		return nil, nil, errOpen
	}
	return open, buf, nil
}
