package lineformat

import (
	"time"

	"github.com/logcapture/logcapture/internal/split"
)

// Record is a text with what is known of it.
type Record struct {
	Text   []byte // valid until Emit returns
	Time   int64  // of its first entry
	At     int64  // where that entry is
	Stream Stream
	// Truncated says that the text ends before the line does: the rest follows in a record that is Continued, or was dropped, or never came.
	Truncated bool
	Continued bool
	Malformed bool
}

// Rules say how entries become records.
type Rules struct {
	// Max is the length in bytes at which a record is split, at least 1. No entry of a Multiline joiner may be longer.
	Max int
	// Truncate drops what is beyond Max, instead of making it the next record.
	Truncate bool
	// Multiline groups lines; nil does not.
	Multiline *Multiline
	// Whole is as in [split.Splitter].
	Whole func(text []byte) int
	// LineWait is how long the rest of a line is waited for, and GroupWait one more line of a group; 0 is for ever.
	LineWait, GroupWait time.Duration
}

// Joiner makes records of the entries of one source. It is used by one goroutine at a time.
type Joiner struct {
	*Rules
	// Emit takes a record.
	Emit func(*Record)

	streams [3]stream
	bounds  []bound
	record  Record
}

// stream is what is open of one stream.
type stream struct {
	line, group part
	from        int64 // entries before were taken already
	skip        int   // as many bytes of the text from there on too
	passed      int   // and as many bytes of the first line, of which all but the group at its end is emitted
}

// part is a line of which the rest has not come, or a group of lines.
type part struct {
	open      bool
	continued bool // a record before this has the beginning
	dropping  bool // the rest is dropped
	cut       bool // it ends before its line does
	inside    bool // it begins with a line of which a record before has the beginning
	malformed bool
	time      int64
	at        int64 // of the entry where it begins, elsewhere where that is in another source
	skip      int   // and so many bytes behind; there a line begins, or a part of one that was cut
	passed    int   // and so many bytes of that line on, there a group begins
	touched   time.Time
	text      []byte
}

// elsewhere is the place of what was taken over from another source.
const elsewhere = -1

// keepText is how much memory an open text leaves behind for the next.
const keepText = 4 << 10

// clear makes the part empty, and keeps some of its memory.
func (p *part) clear() {
	text := p.text[:0]
	if cap(text) > keepText {
		text = nil
	}
	*p = part{text: text}
}

// line is a line, or a part of it.
type line struct {
	*stream
	text                            []byte
	time, at                        int64
	skip                            int
	truncated, continued, malformed bool
	id                              Stream
	now                             time.Time
}

// Add takes the next entry, which is at the given place: any number that grows from one entry to the next.
func (j *Joiner) Add(e Entry, at int64, now time.Time) {
	s := &j.streams[e.Stream]
	if at < s.from {
		return
	}
	skipped := 0
	if s.skip > 0 {
		skipped = min(s.skip, len(e.Text))
		s.skip -= skipped
		e.Text = e.Text[skipped:]
		if s.skip > 0 {
			return
		}
	}
	l := &s.line
	if !l.open && !l.continued && !e.Partial && len(e.Text) <= j.Max { // most entries: no need to copy them here
		if j.Multiline == nil {
			j.record = Record{Text: e.Text, Time: e.Time, At: at, Stream: e.Stream, Malformed: e.Malformed}
			j.Emit(&j.record)
			return
		}
		j.take(&line{stream: s, id: e.Stream, text: e.Text, time: e.Time, at: at, skip: skipped, malformed: e.Malformed, now: now})
		return
	}
	l.touched = now
	if !l.open && !l.dropping {
		l.open, l.time, l.at, l.skip, l.malformed = true, e.Time, at, skipped, e.Malformed
	}
	if l.open {
		l.text = append(l.text, e.Text...)
	}
	for l.open && len(l.text) > j.Max {
		j.cut(s, e, at, skipped)
	}
	if !e.Partial {
		if l.open && (len(l.text) > 0 || !l.continued) {
			j.take(j.openLine(s, e.Stream, l.text))
		}
		l.clear()
	}
}

// openLine is the first part of the line that is open.
func (j *Joiner) openLine(s *stream, id Stream, text []byte) *line {
	l := &s.line
	return &line{
		stream: s, id: id, text: text, time: l.time, at: l.at, skip: l.skip,
		continued: l.continued, malformed: l.malformed, now: l.touched,
	}
}

// cut takes the first Max bytes off the line that is open, whose last entry is e.
func (j *Joiner) cut(s *stream, e Entry, at int64, skipped int) {
	l := &s.line
	n := j.whole(l.text)
	first := j.openLine(s, e.Stream, l.text[:n])
	first.truncated = true
	j.take(first)
	l.continued = true
	if j.Truncate {
		l.open, l.dropping, l.text = false, true, nil
		return
	}
	rest := len(l.text) - n
	if rest <= len(e.Text) {
		l.at, l.skip = at, skipped+len(e.Text)-rest
	} else {
		l.skip += n
	}
	l.text = l.text[:copy(l.text, l.text[n:])]
}

// whole returns how much of a text, which is longer than Max, to take.
func (j *Joiner) whole(text []byte) int {
	whole := j.Whole
	if whole == nil {
		whole = split.WholeUTF8
	}
	if n := whole(text[:j.Max]); n > 0 {
		return n
	}
	return j.Max
}

// take makes a record of a line, or puts it into a group.
func (j *Joiner) take(l *line) {
	if j.Multiline == nil {
		j.record = Record{
			Text: l.text, Time: l.time, At: l.at, Stream: l.id,
			Truncated: l.truncated, Continued: l.continued, Malformed: l.malformed,
		}
		j.Emit(&j.record)
		return
	}
	g := &l.group
	start := j.Multiline.start
	from, ended := 0, false
	passed := l.passed
	l.passed = 0
	j.bounds = j.Multiline.bounds(j.bounds[:0], l.text, l.continued)
	for _, b := range j.bounds {
		if passed > 0 && b.next <= passed {
			from, ended = b.next, true
			continue
		}
		// Nothing before the first start is no record; nor is nothing a last line of one where the end is omitted.
		nothing := b.end == from && !ended && (start || g.open && j.Multiline.omit)
		if !nothing {
			j.append(l, from, b.end, ended)
		}
		j.endGroup(g, l.id)
		from, ended = b.next, true
	}
	if !ended || start || from < len(l.text) {
		j.append(l, from, len(l.text), ended)
	}
}

// append puts a part of a line into the group. Where the line has ended another group, it begins a new one.
func (j *Joiner) append(l *line, from, to int, begins bool) {
	g := &l.group
	g.touched = l.now
	if g.dropping {
		return
	}
	text := l.text[from:to]
	if g.open {
		between := 1
		if l.continued && !begins {
			between = 0
		}
		if len(g.text)+between+len(text) <= j.Max {
			g.text = append(append(g.text, "\n"[:between]...), text...)
			g.cut = g.cut && j.Truncate || l.truncated
			return
		}
		if j.Truncate {
			// What still fits of the line is not worth a cut inside of it.
			g.cut = true
			j.emitGroup(g, l.id)
			g.clear()
			g.continued, g.dropping, g.touched = true, true, l.now
			return
		}
		g.cut = true
		j.emitGroup(g, l.id)
		g.clear()
		g.continued, g.touched = true, l.now
	}
	g.open, g.time, g.malformed = true, l.time, l.malformed
	g.at, g.skip, g.passed, g.inside = l.at, l.skip, from, l.continued
	g.continued = g.continued || l.continued && !begins
	g.text, g.cut = append(g.text[:0], text...), l.truncated
}

// endGroup emits the group, if there is one, and makes it empty.
func (j *Joiner) endGroup(g *part, id Stream) {
	if g.open {
		j.emitGroup(g, id)
	}
	g.clear()
}

func (j *Joiner) emitGroup(g *part, id Stream) {
	j.record = Record{
		Text: g.text, Time: g.time, At: g.at, Stream: id,
		Truncated: g.cut, Continued: g.continued, Malformed: g.malformed,
	}
	j.Emit(&j.record)
}

// Due returns when Flush has something to do next, the zero time for never.
func (j *Joiner) Due() (due time.Time) {
	earlier := func(p *part, wait time.Duration) {
		if !p.open && !p.dropping || wait == 0 {
			return
		}
		if at := p.touched.Add(wait); due.IsZero() || at.Before(due) {
			due = at
		}
	}
	for i := range j.streams {
		earlier(&j.streams[i].line, j.LineWait)
		earlier(&j.streams[i].group, j.GroupWait)
	}
	return due
}

// Flush emits what has waited for too long.
func (j *Joiner) Flush(now time.Time) {
	for i := range j.streams {
		s := &j.streams[i]
		if p := &s.line; j.LineWait > 0 && !now.Before(p.touched.Add(j.LineWait)) {
			j.flushLine(s, Stream(i)) //nolint:gosec // three
		}
		if p := &s.group; j.GroupWait > 0 && !now.Before(p.touched.Add(j.GroupWait)) {
			j.endGroup(p, Stream(i)) //nolint:gosec // three
		}
	}
}

// FlushAll emits all that is open: nothing more will come.
func (j *Joiner) FlushAll() { j.FlushBefore(1<<63 - 1) }

// FlushBefore emits what began before a place.
func (j *Joiner) FlushBefore(at int64) {
	for i := range j.streams {
		s := &j.streams[i]
		if s.group.open && s.group.at < at || s.line.open && s.line.at < at {
			j.flushLine(s, Stream(i))       //nolint:gosec // three
			j.endGroup(&s.group, Stream(i)) //nolint:gosec // three
		}
	}
}

// flushLine gives up the wait for the rest of a line. Should it come yet, it is marked as continued.
func (j *Joiner) flushLine(s *stream, id Stream) {
	l := &s.line
	if l.open {
		first := j.openLine(s, id, l.text)
		first.truncated = true
		j.take(first)
		l.clear()
		l.continued = true
	}
	l.dropping = false
}
