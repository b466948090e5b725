package filetail

import (
	"slices"
	"time"

	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lineformat"
	"github.com/logcapture/logcapture/internal/split"
)

// rawLines says that the lines of a file are its text, and not what a container runtime has written around it.
func (e *Engine) rawLines() bool { return e.Text.Format == lineformat.Raw }

// join is split where records may be of many lines, and lines of many pieces. What has begun is kept in the joiner of the file, and its place is
// behind that: where it begins is in the position too; see [lineformat.Joiner.Open].
func (r *reader) join(f *file, data []byte, used int, end ending) int {
	now := time.Now()
	j := r.joinerOf(f, now)
	if f.script == nil { // nothing was read yet
		j.Flush(now)
		return used
	}
	used = r.feed(f, data, used, end, now)
	switch {
	case used < len(data):
	case end == over:
		j.FlushAll()
	case end == waited && used > 0:
		j.FlushAll() // with the unfinished line, for which the others have waited as long
	}
	j.Flush(now)
	if oldest, ok := j.Oldest(); ok {
		if limit := f.place.offset + int64(used) - openSpan - 4*int64(r.engine.MaxLogSize); oldest < limit {
			j.FlushBefore(limit)
		}
	}
	return used
}

// feed gives the lines of data to the joiner of the file, and returns how many bytes they were.
func (r *reader) feed(f *file, data []byte, used int, end ending, now time.Time) int {
	inside := f.inside()
	for used < len(data) && !r.batch.Full() {
		line, size := f.script.Next(data[used:], end == over)
		if size == 0 {
			if end == waited {
				line, size = f.script.Flush(data[used:])
			}
			if size == 0 {
				break
			}
		}
		f.joiner.Add(r.parse(line, inside), f.place.offset+int64(used), now)
		inside = line.Truncated
		used += size
	}
	return used
}

// parse makes an entry of a line. Lines that are too long are none of a container runtime's; they are taken as they are.
func (r *reader) parse(line split.Line, inside bool) lineformat.Entry {
	if line.Truncated || inside {
		return lineformat.Entry{Text: line.Text, Partial: line.Truncated, Malformed: !r.engine.rawLines()}
	}
	return r.parser.Parse(line.Text)
}

// joinerOf returns the joiner of the file. What another file has left open goes on in it.
func (r *reader) joinerOf(f *file, now time.Time) *lineformat.Joiner {
	if f.joiner == nil {
		f.joiner = &lineformat.Joiner{Rules: r.engine.rules}
	}
	f.joiner.Emit = r.emit
	if f.inherited != nil {
		f.joiner.TakeOver(f.inherited, now)
		f.inherited = nil
	}
	return f.joiner
}

// emitRecord adds a record of a joiner to the batch.
func (r *reader) emitRecord(record *lineformat.Record) {
	offset := record.At
	if offset < 0 { // it began in the file before this one
		offset = 0
	}
	r.add(record.Text, &emit.Record{
		Offset: offset, Time: record.Time, Iostream: iostreams[record.Stream],
		Truncated: record.Truncated, Continued: record.Continued, Malformed: record.Malformed,
	})
}

var iostreams = [...]emit.Iostream{lineformat.Unknown: 0, lineformat.Stdout: emit.Stdout, lineformat.Stderr: emit.Stderr}

// restore makes the joiner go on where an earlier run has stopped. What was open then is read again.
func (r *reader) restore(f *file) error {
	if f.place.open == "" {
		return nil
	}
	open, _, err := lineformat.DecodeOpen([]byte(f.place.open))
	if err != nil {
		return err // it was checked when the position was
	}
	frontier := f.place.offset
	joiner := &lineformat.Joiner{Rules: r.engine.rules}
	from, more := joiner.Restore(open, frontier, f.grew)
	if !r.engine.joined {
		return r.repeat(f, joiner, from, more)
	}
	before, err := f.readBefore(from, guardSize)
	if err != nil {
		return err
	}
	data, err := f.readBefore(frontier, int(frontier-from))
	if err != nil {
		return err
	}
	place, guard := f.place, f.before
	f.joiner = joiner
	f.moveTo(from, before, 0)
	r.file = f
	joiner.Emit = func(*lineformat.Record) {} // all that was emitted before the frontier is delivered
	r.feed(f, data, 0, pause, f.grew)
	f.place, f.before = place, guard
	f.inherited = append(more, f.inherited...)
	return nil
}

// repeat goes on where the oldest of what was open begins: since then the configuration has changed, so that nothing is open any more.
func (r *reader) repeat(f *file, joiner *lineformat.Joiner, from int64, more []lineformat.Open) error {
	before, err := f.readBefore(from, guardSize)
	if err != nil {
		return err
	}
	r.file, joiner.Emit = f, r.emit
	joiner.FlushAll()
	joiner.TakeOver(more, f.grew)
	joiner.FlushAll()
	f.moveTo(from, before, 0)
	f.place.open = ""
	return nil
}

// openLines returns what is open of a file, as its position has it.
func (f *file) openLines() string { return f.encodeOpen(slices.Clone(f.handed)) }

// encodeOpen appends what is open of a file, and nobody has taken over.
func (f *file) encodeOpen(open []lineformat.Open) string {
	if f.joiner != nil {
		open = f.joiner.Open(open)
	}
	return encodeOpen(append(open, f.inherited...))
}

func encodeOpen(open []lineformat.Open) string {
	if len(open) == 0 {
		return ""
	}
	return string(lineformat.AppendOpen(nil, open))
}
