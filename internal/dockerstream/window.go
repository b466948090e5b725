package dockerstream

import (
	"math"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// lag is by how much the lines of one stream can be stored later, by their stamps, than those of the other: that of an engine which is
	// not given the machine between the two.
	lag = int64(time.Second)
	// margin is how far before the newest stamp of a stream its lines are remembered, for clocks that are set back a little. By itself a stream
	// has rising stamps.
	margin = int64(250 * time.Millisecond)
	// minMargin is what is left of it where many lines fall into that time: since then the log is asked for again. By order, older lines than
	// the last maxHashes come before these, and so need not be remembered.
	minMargin = int64(50 * time.Millisecond)
	// maxHashes is how many lines of a stream are many.
	maxHashes = 512
	// tailRoom is how much more is asked for there, so that a tail that is long enough begins with a line older than minMargin.
	tailRoom = int64(5 * time.Millisecond)
	// mostHashes bounds those of both whatever the stamps say.
	mostHashes = 32 * maxHashes
)

// Window is a position in the log of a container: the lines that were delivered last, and since when to ask again. The zero value is
// the beginning.
type Window struct {
	newest int64    // stamp of the newest line delivered
	last   [2]int64 // by stream; 0: none is known. Not stored, the lines have it
	floor  [2]int64 // by stream: all lines with an older stamp are done with, but for those behind the lines below
	lines  []delivered
	open   [2]opened // lines that have begun and are not delivered
	cut    [2]int64  // by stream: stamp of the last line of several pieces that was delivered
	read   int64     // start of the run that was read to its end
}

// delivered is a line that was delivered, in whole or in part.
type delivered struct {
	stamp  int64
	hash   uint64 // of stream, stamp and first piece
	full   uint32 // pieces that are delivered
	cut    uint32 // bytes of the next piece that are delivered too
	last   uint64 // of a line of several pieces: hash of the last; not stored
	end    int64  // stamp of its last piece; not stored, it comes again before it matters
	next   int32  // while replaying: the next one with the same hash, 1 more than its index
	stderr bool
}

func (d *delivered) side() int {
	if d.stderr {
		return 1
	}
	return 0
}

type opened struct {
	stamp int64
	hash  uint64 // 0: none
}

// From makes a window of which everything before the stamp counts as delivered.
func From(stamp int64) Window {
	return Window{newest: stamp, floor: [2]int64{stamp, stamp}}
}

// Since returns the stamp since when a stream has to be opened again; false is the beginning.
func (w *Window) Since() (stamp int64, ok bool) {
	for s := range w.floor {
		since := w.from(s)
		if since < w.floor[s] {
			since -= tailRoom
		}
		if s == 0 || since < stamp {
			stamp = since
		}
	}
	return stamp, stamp > 0
}

// from returns since when the lines of a stream are needed again. It can be before the floor: a clock that is set back a little makes lines
// that an engine would leave out which was asked for those since the floor.
func (w *Window) from(side int) int64 {
	if w.floor[side] > w.last[side] {
		return w.floor[side] // no line since then is known
	}
	return min(w.floor[side], w.last[side]-minMargin)
}

// Newest returns the newest stamp delivered, 0 for none.
func (w *Window) Newest() int64 { return w.newest }

// Lines returns the number of lines that are remembered.
func (w *Window) Lines() int { return len(w.lines) }

// SetRead says that the run that started at this time was read to its end.
func (w *Window) SetRead(started int64) { w.read = started }

// Read returns what SetRead set last.
func (w *Window) Read() int64 { return w.read }

// Knows says that the piece is one of those that the window begins with: a stream that begins with it has everything since.
func (w *Window) Knows(p Piece) bool {
	h := hash(p)
	if len(w.lines) > 0 && w.lines[0].hash == h {
		return true
	}
	return w.open[0].hash == h || w.open[1].hash == h
}

// has says that the line is among the delivered ones; those before last are looked at first.
func (w *Window) has(h uint64) bool {
	for i := len(w.lines) - 1; i >= 0; i-- {
		if w.lines[i].hash == h {
			return true
		}
	}
	return false
}

// note takes the stamp of a line that is delivered.
func (w *Window) note(side int, stamp int64) {
	w.last[side] = max(w.last[side], stamp)
	w.newest = max(w.newest, stamp)
}

// lowest returns the stamp below which no new line of a stream is expected. What is delivered says little about the other stream, whose
// lines can be stored much later.
func (w *Window) lowest(side int) int64 { return max(w.newest-lag, w.last[side]-margin) }

// advance moves the floors to what the newest lines ask for.
func (w *Window) advance() {
	var floor [2]int64
	for s := range floor {
		floor[s] = w.lowest(s)
	}
	var many [2]int
	lowest := [2]int64{math.MaxInt64, math.MaxInt64}
	for i := len(w.lines) - 1; i >= 0; i-- {
		s := w.lines[i].side()
		lowest[s] = min(lowest[s], w.lines[i].stamp)
		if many[s]++; many[s] == maxHashes {
			floor[s] = max(floor[s], lowest[s])
		}
	}
	for s := range w.open {
		if w.open[s].hash != 0 {
			floor[s] = min(floor[s], w.open[s].stamp)
		}
	}
	// Nor may a floor be between the pieces of a line, where they have stamps of their own: those behind it would look like a line.
	for i := len(w.lines) - 1; i >= 0; i-- {
		if line := &w.lines[i]; line.stamp < floor[line.side()] && line.end >= floor[line.side()] {
			floor[line.side()] = line.stamp
		}
	}
	for s := range w.floor {
		w.floor[s] = max(w.floor[s], floor[s])
	}
}

// side returns the index of the stream in the arrays of the window; a terminal is what stdout is.
func (s Stream) side() int {
	if s == Stderr {
		return 1
	}
	return 0
}

// hash identifies a piece: stream, stamp and bytes. It is never 0.
func hash(p Piece) uint64 {
	const odd1, odd2 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F
	h := xxhash.Sum64(p.Text) ^ bits.RotateLeft64(uint64(p.Stamp)*odd1, 31)*odd2 //nolint:gosec // any bits will do
	h = (h ^ uint64(p.Stream.side())<<1 ^ h>>29) * odd1                          //nolint:gosec // 0 or 1
	if p.Open {
		h ^= odd2
	}
	return max(h, 1)
}
