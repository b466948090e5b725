package filetail

import (
	"time"

	"github.com/logcapture/logcapture/internal/emit"
)

// ending says what is behind the bytes that were read.
type ending uint8

const (
	more   ending = iota // more bytes
	pause                // nothing yet
	waited               // nothing, for as long as the end of a line is waited for
	over                 // nothing, ever
)

// ending notes whether the file has grown to size bytes behind its place, where eof says that this is all it has.
func (r *reader) ending(f *file, eof bool, size int) ending {
	if !eof {
		return more
	}
	if r.ends(f, size) {
		return over
	}
	if r.flushDue(f) {
		r.waited = true
		return waited
	}
	return pause
}

// flushDue says that an unfinished line has waited for long enough. Half a line of a container runtime's is nothing that could be taken.
func (r *reader) flushDue(f *file) bool {
	wait := r.engine.Text.FlushPeriod
	return wait > 0 && r.engine.rawLines() && time.Since(f.grew) >= wait
}

// split adds the whole lines of data to the batch, until that is full. It returns how many bytes and records they were.
func (r *reader) split(f *file, data []byte, end ending) (used, records int) {
	mark := 0
	switch {
	case f.place.offset == 0 && len(data) > 0:
		var ok bool
		if mark, ok = r.engine.scriptOf(f, data); !ok && end < waited {
			return 0, 0
		}
	case f.place.offset > 0 && f.script == nil:
		if r.engine.findScript(f, f.place.offset) != nil || f.script == nil {
			f.script = r.engine.scripts[r.engine.Text.Encoding]
		}
	}
	r.file, r.records = f, 0
	switch {
	case r.engine.joined:
		used = r.join(f, data, mark, end)
	case f.script != nil:
		used = r.lines(f, data, mark, end)
	}
	if r.records == 0 && used == mark {
		used = 0 // a mark alone is no place to go on at: that would look like the middle of a line
	}
	return used, r.records
}

// lines is split where each line is a record.
func (r *reader) lines(f *file, data []byte, used int, end ending) int {
	s := f.script
	inside := f.inside()
	final := end == over || end != more && s.Splitter.Blocks
	for used < len(data) && !r.batch.Full() {
		if inside && r.engine.Text.Truncate {
			size, ended := s.Skip(data[used:])
			if used += size; !ended {
				break
			}
			inside = false
			continue
		}
		line, size := s.Next(data[used:], final)
		if size == 0 {
			if end == waited {
				line, size = s.Flush(data[used:])
			}
			if size == 0 {
				break
			}
		}
		if len(line.Text) > 0 || !inside { // else it is the end of a line that was taken before it had come
			r.add(line.Text, &emit.Record{
				Offset: f.place.offset + int64(used), Truncated: line.Truncated, Continued: inside,
			})
		}
		inside = line.Truncated
		used += size
	}
	return used
}

// add adds a record with a text to the batch.
func (r *reader) add(text []byte, record *emit.Record) {
	f := r.file
	var ok bool
	s := f.script
	if s == nil { // nothing of the file itself was read
		s = r.engine.scripts[r.engine.Text.Encoding]
	}
	if record.Body, record.Bytes, ok = r.body(s, text); !ok {
		return
	}
	r.records++
	record.Number = f.place.number + int64(r.records)
	r.batch.Add(f.source, record)
}

// inside says that the place of the file is inside of a line that was cut.
func (f *file) inside() bool {
	return f.place.guard.size > 0 && !f.script.Ends(f.before[:f.place.guard.size])
}
