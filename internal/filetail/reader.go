package filetail

import (
	"bytes"
	"errors"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/checkpoint"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lineformat"
)

const (
	// minBlock and maxBlock bound how much is read at a time. While a longer
	// read runs, Go gives its processor to another thread, which costs more than the calls that it saves.
	minBlock, maxBlock = 16 << 10, 32 << 10
	// keptSpace is what the block of a reader may take between two turns: a line of the default max_log_size.
	keptSpace = 2 << 20
	// keptText is the same for a text that is not UTF-8 in its file.
	keptText = 256 << 10
	// maxTurn is how much is read of a file at a time where that does not fill a batch: lines that are joined, or dropped.
	maxTurn = 8 << 20
	// longPartial is where an unfinished line is long enough to look only at what is new, instead of reading it again.
	longPartial = 64 << 10
)

// reader reads files into a batch. Each worker has one.
type reader struct {
	engine *Engine
	batch  emit.Batch
	taken  []taken
	put    checkpoint.Mark // when the batch was begun
	block  []byte

	perRecord int // bytes of a file, as in the last block

	// What turns lines into records.
	parser  lineformat.Parser
	emit    func(*lineformat.Record) // emitRecord
	decoded []byte                   // a text that is not UTF-8 in its file
	file    *file                    // whose lines are taken
	records int                      // taken of it with the present block
	waited  bool                     // the end of its last line was waited for in vain
}

func newReader(e *Engine) *reader {
	r := &reader{engine: e, batch: e.Sink.NewBatch(), parser: lineformat.Parser{Format: e.Text.Format}}
	r.emit = r.emitRecord
	return r
}

// reset forgets the batch and its files.
func (r *reader) reset() {
	r.batch.Reset()
	clear(r.taken)
	r.taken = r.taken[:0]
	if cap(r.block) > keptSpace {
		r.block = nil
	}
	if cap(r.decoded) > keptText {
		r.decoded = nil
	}
	r.parser.Trim()
	r.file = nil
}

// read adds what the file has to the batch, until that is full. It reports whether there may be more. An error of the file is told, and
// tried again when the file is touched next.
func (r *reader) read(f *file) (more bool) {
	f.patient, f.consumed, f.blocked, r.waited = false, false, false, false
	r.batch.Observe(time.Now()) // for what an earlier run has left open
	more, err := r.readLocked(f)
	if f.codec != nil && !more {
		r.engine.packAway(f)
	}
	switch {
	case errors.Is(err, errTruncated):
		r.engine.Logger.Info("A file was truncated", zap.String("path", f.name), zap.Int64("offset", f.place.offset))
		f.shrunk, f.blocked, f.ended = true, true, false
		return false
	case errors.Is(err, errUnsure):
		f.unsure, f.blocked, f.ended = true, true, false
		return false
	case errors.Is(err, errNoUnpacker):
		f.blocked = true
		return false
	case errors.Is(err, errNotYet):
		f.patient, f.blocked = true, errors.Is(err, errOthers)
		f.ended = r.quiet(f) && r.leave(f)
		return false
	}
	r.engine.readFailed(f, err)
	f.due = r.due(f, err)
	if err != nil {
		// It may only be on its way to another path. What is left of one that was nowhere goes on in the next file.
		f.blocked = f.vanished && (!f.nowhere || r.engine.rawLines())
		if f.nowhere {
			f.beginGone()
		}
		// Also where no path leads to it: with a directory that is moved it is away for a moment only.
		f.ended = !f.gone.IsZero() && time.Since(f.gone) >= r.engine.RotateWait && f.takenAt == ""
		if f.ended || f.takenAt != "" {
			r.flushGone(f)
		}
		return false
	}
	return more
}

// readLocked is readLines while the file is locked, where that is asked for.
func (r *reader) readLocked(f *file) (more bool, err error) {
	if !r.engine.Lock || f.handle == nil {
		return r.readLines(f)
	}
	if err := lock(f.handle); err != nil {
		return false, err
	}
	defer unlock(f.handle)
	return r.readLines(f)
}

func (r *reader) readLines(f *file) (more bool, err error) {
	if f.unopened != nil {
		return false, f.unopened
	}
	if f.allRead() && !r.engine.mayRecall(f) {
		f.consumed = true
		return false, r.restored(f)
	}
	if err := r.begin(f); err != nil {
		return false, err
	}
	want := r.blockSize()
	for turn := 0; !r.batch.Full() && turn < maxTurn; {
		if f.partial >= longPartial {
			if grown, err := r.probe(f); err != nil || !grown {
				return false, err
			}
			want = r.longest()
		}
		block, guard, err := r.fill(f, want)
		if err != nil {
			return false, err
		}
		if err := r.sure(f, block); err != nil {
			return false, err
		}
		eof := len(block)-guard < want
		used, records := r.split(f, block[guard:], r.ending(f, eof, len(block)-guard))
		turn += used
		if records > 0 {
			r.perRecord = used / records
		}
		f.extendHead(block[:guard+used])
		f.moveTo(f.place.offset+int64(used), block[:guard+used], records)
		f.moved = f.moved || used > 0
		if guard+used < len(block) {
			f.ended = false // the batch is full
		}
		if eof && !r.batch.Full() {
			f.partial = len(block) - guard - used
			f.consumed = f.partial == 0
			f.finish()
			return false, f.fault()
		}
		f.partial = 0
		if want = r.blockSize(); used == 0 {
			want = r.longest()
		}
	}
	return true, nil
}

// blockSize is how much to read next: no more than the batch can take, if the records go on as they were. What does not fit is read again.
func (r *reader) blockSize() int {
	most := min(max(maxBlock, 2*r.perRecord), r.longest()) // with a whole record in it
	n, size := r.batch.Len(), r.batch.Bytes()
	if n == 0 || r.perRecord == 0 {
		return most
	}
	room := min(emit.MaxBatchRecords-n, (emit.MaxBatchBytes-size)*n/size+1)
	return min(most, max(minBlock, (room+1)*r.perRecord))
}

// longest is a size that holds a whole line, whatever its length.
func (r *reader) longest() int { return max(maxBlock, r.engine.longest) }

// fill reads up to want bytes from the place of the file on. The block begins with what is before the place: the guard, which has been compared,
// or all from the beginning of the file on while the evidence of that is not complete. The error is errTruncated where it is not what
// it was.
func (r *reader) fill(f *file, want int) (block []byte, guard int, err error) {
	guard = f.place.guard.size
	if f.place.offset < headSize {
		guard = int(f.place.offset)
	}
	if cap(r.block) < guard+want {
		r.block = make([]byte, headSize+max(want, maxBlock))
	}
	block = r.block[:guard+want]
	var n int
	if f.codec != nil {
		n, err = f.codec.read(block, f.place.offset-int64(guard), f.lastSize)
	} else {
		n, err = f.handle.ReadAt(block, f.place.offset-int64(guard))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	r.batch.Observe(time.Now()) // not before: a line may have come with the read
	f.patient = f.codec != nil && f.codec.cut != 0
	if f.patient && n < guard {
		return nil, 0, errNotYet
	}
	if n < guard || !bytes.HasSuffix(block[:guard], f.before[:f.place.guard.size]) {
		return nil, 0, errTruncated
	}
	return block[:n], guard, nil
}

// ends notes whether the file has grown to size bytes behind its place, and reports whether it is over: gone from where the patterns
// look, and quiet for as long as writers are given to leave it.
func (r *reader) ends(f *file, size int) bool {
	now := time.Now()
	if size != f.partial {
		f.grew = now
	}
	f.ended = r.quiet(f)
	// A compressed file is written once, and so is one that is to be deleted: its last line needs no end.
	once := r.engine.Delete || f.codec != nil && f.codec.whole
	if once && size > 0 {
		f.patient = true
	}
	return f.ended || once && now.Sub(f.grew) >= r.engine.RotateWait
}

// quiet says that the file is gone, and that nothing has come since for as long as writers are given to leave it.
func (r *reader) quiet(f *file) bool {
	wait := r.engine.RotateWait
	return !f.gone.IsZero() && time.Since(f.gone) >= wait && time.Since(f.grew) >= wait
}

// probe looks at what has come behind a long unfinished line. It reports whether the line has to be read: because its end may be
// there, because it is too long, or because the file has shrunk.
func (r *reader) probe(f *file) (grown bool, err error) {
	if f.codec != nil {
		return true, nil
	}
	info, err := f.handle.Stat()
	if err != nil {
		return false, err
	}
	known := f.place.offset + int64(f.partial)
	if info.Size() < known || f.partial >= f.script.Max || r.flushDue(f) || r.ends(f, int(info.Size()-f.place.offset)) {
		return true, nil
	}
	var fresh [longPartial]byte
	n, err := f.handle.ReadAt(fresh[:], known)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if f.script.MayEnd(fresh[:n]) || n == len(fresh) {
		return true, nil
	}
	f.partial += n
	return false, nil
}

// begin finds the place where reading begins, once per file.
func (r *reader) begin(f *file) (err error) {
	if err := r.unpack(f); err != nil || f.begun && !f.restart {
		return err
	}
	switch {
	case f.restart:
		err = r.anew(f)
	case f.stored != nil:
		if err = f.resume(); err == nil {
			err = r.engine.findScript(f, f.place.offset)
		}
		if err == nil {
			err = r.restore(f)
		}
	case f.atEnd:
		f.rewind()
		if err = r.engine.findScript(f, f.limit); err == nil {
			err = f.skip(r.longest())
		}
	default:
		if err = r.engine.origin(f); err == nil {
			err = r.engine.takeFromLog(f)
		}
		if err == nil {
			err = r.engine.findScript(f, f.place.offset)
		}
		if err == nil {
			err = r.restore(f)
		}
	}
	if f.begun = err == nil; f.begun {
		r.engine.recall(f)
	}
	return err
}

// restored takes over the position of a file all of which was read by an earlier run.
func (r *reader) restored(f *file) error {
	if f.begun {
		return nil
	}
	f.place, f.begun = *f.stored, true
	f.saved, f.savedAt, f.savedOpen, f.savedPacked = f.place.offset, f.place.at, f.place.open, f.place.packed
	f.before, f.place.guard = [guardSize]byte{}, evidence{} // what is appended is read behind the offset
	return nil
}
