package filetail

import (
	"cmp"
	"container/list"
	"errors"
	"io"
	"os"
	"time"

	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// file is one followed file.
type file struct {
	id   id
	name string // the path under which it was found first

	// Guarded by Engine.mu.
	log        string    // of which it is a generation by its name
	path       string    // where it is now, as far as known
	links      int       // paths that the patterns match and that lead to it
	linked     bool      // its path leads through a link
	size       int64     // when it was last looked at
	modified   time.Time // then
	detached   time.Time // since when no path leads to it: renamed away or deleted; zero: one does
	held       bool      // not to be read before the look that has found it is over
	queued     bool      // in the ready queue
	reading    bool      // taken by a worker
	again      bool      // touched while that was not possible
	retired    bool      // done with
	waitsFor   int       // files of which it is a successor: they are read first
	successors []successor
	idle       *list.Element // in handles.idle
	dir        *directory    // of a path that leads to it; discovery's
	since      time.Time     // generations that were written since then may be unknown
	known      position      // its place when it was last given back
	past       position      // its place when it was last truncated, with what was open then
	original   *file         // of which this is a copy, and waits for it: what was open there goes on here
	cut        bool          // it was truncated, and what it held before is looked after: it is read anew
	opens      int           // bytes of its lines and records that wait for their end
	heirs      []heir        // files that have taken over what is open here, and are not stored with it
	started    bool          // something of what it holds was read
	packed     bool          // it is compressed
	testators  []*file       // files that have handed that over to this one
	rebornAt   string        // where a file is that has its id and was created later: this one is deleted, as a worker will find out
	missed     time.Time     // since then generations were written that nobody has seen, and that file is one of them

	// As it was when the worker took the file.
	waiting  int               // number of successors
	gone     time.Time         // detached
	at       string            // path
	viaLink  bool              // linked
	lastSize int64             // size
	restart  bool              // cut
	handed   []lineformat.Open // what heirs have taken over
	inherits bool              // testators are not empty

	// Owned by the worker that has taken the file; by discovery before it is in the table. A handle that is idle is Engine's.
	handle      *os.File // nil while closed
	born        int64
	replaced    *file    // which its path led to before
	unopened    error    // why it could not be opened for this turn
	vanished    bool     // no path leads to it, and it is not open
	aside       bool     // it is gone, and can be opened where it is now
	nowhere     bool     // it was when the engine started, which follows it only for the text that it was left
	takenAt     string   // where another file is that the file system has given its id: it is deleted
	codec       *codec   // of a compressed file
	plain       bool     // it is none
	shrunk      bool     // it was truncated, as this turn has found
	consumed    bool     // it was read to its end, and no line is unfinished
	patient     bool     // it has to wait for what no event will tell
	unsure      bool     // discovery has to look beside it before its beginning is taken
	seen        evidence // of the beginning, when that was seen last
	looked      bool     // nothing is missing that was before the beginning
	moved       bool     // something was read of it
	wants       *file    // which this compressed file is made of, and which is to hand over what is open
	asked       *file    // the same, when it was asked for that
	blocked     bool     // what it holds comes later: its successors go on waiting
	unpacking   bool     // it has one of Engine.unpackers
	waitSize    int64    // its size when it began to be worth waiting for what it is
	source      *emit.Source
	stored      *position // what is to be proved before the first read
	atEnd       bool      // begin at the end, at the last line that has begun by limit
	limit       int64
	begun       bool // the place to begin is known
	place       position
	before      [guardSize]byte // the last bytes before place.offset, as many as place.guard has
	partial     int             // bytes behind place.offset that are known to have no line end
	saved       int64           // place.offset when it was last stored, -1 for never
	savedAt     string          // place.at then
	savedPacked int64           // place.packed then
	grew        time.Time       // when a read last found something new
	failing     bool            // the last read failed, and the log has told
	ended       bool            // gone, read to its end, and quiet for the time that writers are given

	// The same, for what makes records of lines.
	script    *script            // nil while not known
	joiner    *lineformat.Joiner // nil where each line is a record
	inherited []lineformat.Open  // what was open elsewhere, or before the file was truncated; of Engine.mu while another file has it
	savedOpen string             // place.open when it was last stored
	due       time.Time          // when something will have waited for too long
}

// readBefore reads size bytes that end right before offset, fewer where the file begins before.
func (f *file) readBefore(offset int64, size int) ([]byte, error) {
	size = int(min(int64(size), offset))
	buf := make([]byte, size)
	if f.handle == nil {
		return nil, os.ErrClosed
	}
	n, err := f.readAt(buf, offset-int64(size))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], err
}

// readAt reads content of the file, as [io.ReaderAt] has it.
func (f *file) readAt(p []byte, offset int64) (int, error) {
	if f.codec != nil {
		return f.codec.ReadAt(p, offset)
	}
	return f.handle.ReadAt(p, offset)
}

// proves says whether the file still has the content that the evidence was taken of, which ends right before end.
func (f *file) proves(e evidence, end int64) (bool, error) {
	if e.size == 0 {
		return true, nil
	}
	content, err := f.readBefore(end, e.size)
	return err == nil && evidenceOf(content) == e, err
}

// moveTo sets the place behind content that was just read, records of which were taken.
func (f *file) moveTo(offset int64, before []byte, records int) {
	f.place.offset = offset
	f.place.number += int64(records)
	before = before[max(0, len(before)-guardSize):]
	copy(f.before[:], before)
	f.place.guard = evidenceOf(before)
}

// rewind begins the file anew: it is new content under the same id.
func (f *file) rewind() {
	f.place = position{id: f.id, path: f.name, born: f.born}
	f.partial = 0
	f.saved = -1
	f.script = nil
	f.seen, f.looked, f.moved = evidence{}, false, false
	if f.joiner != nil { // what is open was not delivered, and can go on in what comes
		f.inherited = append(f.inherited, f.joiner.Take()...)
		f.joiner = nil
	}
}

// resume goes on at the stored position, if the file is still what it was taken of; else the content is new, and read from its beginning.
func (f *file) resume() error {
	head, err := f.proves(f.stored.head, int64(f.stored.head.size))
	if err != nil {
		return err
	}
	guard, err := f.proves(f.stored.guard, f.stored.offset)
	if err != nil {
		return err
	}
	if !head || !guard {
		f.place = *f.stored
		return errTruncated
	}
	f.place, f.saved, f.savedAt, f.savedOpen = *f.stored, f.stored.offset, f.stored.at, f.stored.open
	f.savedPacked = f.stored.packed
	f.place.born, f.place.gone = cmp.Or(f.born, f.place.born), 0
	before, err := f.readBefore(f.place.offset, f.place.guard.size)
	copy(f.before[:], before)
	return err
}

// skip goes from the beginning to that of the line that has begun, and not ended, at the limit. Only the last longest bytes are searched for it.
func (f *file) skip(longest int) error {
	if f.script == nil {
		return nil // there is nothing yet
	}
	unit := max(1, f.script.Unit)
	limit := f.limit - f.limit%int64(unit)
	before, err := f.readBefore(limit, longest-longest%unit)
	if err != nil {
		return err
	}
	start := max(0, f.script.LastEnd(before))
	if start == 0 && int64(len(before)) < limit {
		start = len(before) // no line is that long: what follows the limit is taken
	}
	f.moveTo(limit-int64(len(before)-start), before[:start], 0)
	return f.readHead()
}

// extendHead takes the evidence of the beginning out of what was just read, until that is complete. before is what was read before the place that
// the file comes to.
func (f *file) extendHead(before []byte) {
	if f.place.offset < headSize {
		f.place.head = evidenceOf(before[:min(headSize, len(before))])
	}
}

// readHead takes the evidence of the beginning where it was not read.
func (f *file) readHead() error {
	size := min(headSize, f.place.offset)
	head, err := f.readBefore(size, int(size))
	f.place.head = evidenceOf(head)
	return err
}

// whereabouts notes where a file is that was renamed away, so that it is found again after a restart.
func (f *file) whereabouts() {
	path := pathOf(f.handle)
	if path == "" || path == f.place.path {
		path = ""
	} else if fileAt(path, f.id) == nil {
		return // deleted
	}
	f.place.at = path
}

// fault returns, once, what is wrong with compressed data behind what was read.
func (f *file) fault() (err error) {
	if f.codec != nil {
		err, f.codec.fault = f.codec.fault, nil
	}
	return err
}

// birth returns when the file was created, 0 where that is not known.
func (f *file) birth() int64 {
	if f.handle == nil {
		return bornAt(f.path, f.id)
	}
	return bornOf(f.handle)
}
