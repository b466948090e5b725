package dockerstream

import (
	"errors"
	"unicode/utf8"
)

// Join says how pieces that belong to one line are told.
type Join uint8

const (
	// JoinStamp: a line goes on with an equal stamp. So Docker writes it (json-file, local).
	JoinStamp Join = iota
	// JoinSize: a line goes on behind every piece of 16 KiB without a line feed, whatever the stamp (journald stamps each piece).
	JoinSize
	// JoinOpen: a line goes on behind every piece without a line feed, whatever its size and stamp (Podman).
	JoinOpen
)

// Rules say how pieces become lines.
type Rules struct {
	Join Join
	// MaxSize is the length in bytes at which a line is split, at least 1.
	MaxSize int
	// DropRest gives up what is beyond MaxSize instead of making it lines of its own.
	DropRest bool
	// DropRepeats drops pieces that come twice with the same stamp: engines up to API 1.41 repeat them when the log rotates.
	DropRepeats bool
	// Starts and Ends say that a line is the first, or the last, of a record of several lines; nil: each line is a record. Lines that were
	// split stand alone.
	Starts, Ends func([]byte) bool
	// FlushAfter is the time in nanoseconds between the stamps of two lines after which they are no more of one record; 0: any time.
	FlushAfter int64
}

// Line is one line of a container.
type Line struct {
	Stream Stream
	// Truncated says that the line was longer than MaxSize and this is a part of it.
	Truncated bool
	Stamp     int64
	Text      []byte // valid until Emit returns
}

// ErrTailShort says that a stream that was opened with a bounded tail begins behind the position: more of it has to be asked for.
var ErrTailShort = errors.New("the tail of the log begins behind the position")

// Lines joins pieces to lines, cancels what comes twice, and keeps the [Window] of what was emitted. What is emitted counts as
// delivered with the next Commit; a caller that could not deliver starts anew with an older window.
type Lines struct {
	Rules
	// Emit takes a line; Gap is told that the log between two stamps was gone before it could be read.
	Emit func(Line)
	Gap  func(from, to int64)

	window  Window
	streams [2]openLine
	groups  [2]group
	newest  [2]int64 // by stream, of this process
	recent  recent   // pieces of this connection, where they may come twice

	pending   map[uint64]int32 // lines that the stream is expected to repeat, 1 more than the index of the first; nil: all is new
	since     int64            // stamp that it was asked for from
	left      int              // how many of them have not come
	seen      bool             // one of them has: nothing that is stored behind it can be gone
	opened    int64            // newest stamp when the stream was opened
	latest    [2]int64         // by stream: newest stamp among them, 0 for none
	expect    [2]bool          // by stream: the line that was open has not come
	passed    [2]bool          // by stream: all of it that is forgotten has come
	replaying bool             // what is older than the floor is a repetition
	bounded   bool             // the stream may begin behind the position
	first     bool             // no piece has come yet
	come      [2]bool          // by stream: one has
}

// openLine is a line whose end has not come.
type openLine struct {
	active bool
	fresh  bool // something of it has to be emitted
	drop   bool // nothing of it is
	cutOff bool // it was split at MaxSize
	size   int  // of the last piece
	stamp  int64
	end    int64 // stamp of the last piece
	hash   uint64
	last   uint64 // hash of the last piece, of a line of several
	pieces uint32 // taken so far
	known  int32  // its index among the delivered ones, -1 for none
	full   uint32 // pieces that are still to be cancelled
	cut    uint32 // and bytes of the next one
	text   []byte
}

// NewLines makes one that goes on at the window, which belongs to it from here on.
func NewLines(rules Rules, window Window) *Lines {
	l := &Lines{Rules: rules, window: window}
	for i := range window.lines {
		side := window.lines[i].side()
		l.newest[side] = max(l.newest[side], window.lines[i].stamp)
	}
	return l
}

// Window returns the position of what was committed. It is not to be changed, and valid until the next call.
func (l *Lines) Window() *Window { return &l.window }

// Len returns the bytes of lines and records whose end has not come.
func (l *Lines) Len() int {
	return len(l.streams[0].text) + len(l.streams[1].text) + len(l.groups[0].text) + len(l.groups[1].text)
}

// Replaying says that the stream has not come to anything new yet.
func (l *Lines) Replaying() bool { return l.replaying }

// Add takes the next piece. [ErrTailShort] is the only error, and only for a bounded stream; what was emitted before it stays so.
func (l *Lines) Add(p Piece) error {
	if l.first {
		if l.first = false; l.bounded && !l.window.Knows(p) && !l.before(p) {
			return ErrTailShort
		}
	}
	h := hash(p)
	s := &l.streams[p.Stream.side()]
	if l.DropRepeats && l.recent.again(p, h, s.active && l.continues(s, p)) {
		return nil
	}
	l.flushOld(p.Stamp)
	if s.active && !l.continues(s, p) {
		l.finish(s, p.Stream)
	}
	if !s.active {
		if err := l.begin(s, p, h); err != nil {
			return err
		}
	}
	if l.come[p.Stream.side()] = true; s.pieces > 0 {
		s.last = h
	}
	s.pieces++
	s.size, s.end = len(p.Text), p.Stamp
	if !s.drop {
		l.take(s, p)
	}
	if !p.Open || l.ends(p) {
		l.finish(s, p.Stream)
	}
	return nil
}

// ends says that a piece without line feed is the last one of its line. That of a terminal may also have been torn by the end of a
// connection, which looks the same.
func (l *Lines) ends(p Piece) bool {
	return l.Join != JoinOpen && len(p.Text) < pieceSize && p.Stream != Terminal
}

func (l *Lines) continues(s *openLine, p Piece) bool {
	return l.Join != JoinStamp || s.stamp == p.Stamp
}

// take appends what is new of a piece to its line.
func (l *Lines) take(s *openLine, p Piece) {
	if s.full > 0 {
		s.full--
		return
	}
	text := p.Text
	if s.known >= 0 && !s.fresh {
		// The line is longer than what was delivered of it: it had been split.
		text = text[min(int(s.cut), len(text)):]
		if s.cutOff = true; l.DropRest {
			s.drop = true
			return
		}
	}
	if p.Stream == Terminal && !p.Open {
		text = l.withoutReturn(s, text)
	}
	if !p.Open && len(s.text) == 0 && len(text) <= l.MaxSize { // most lines: no need to copy them here
		l.whole(s, p.Stream, text)
		return
	}
	s.fresh = true
	s.text = append(s.text, text...)
	for len(s.text) > l.MaxSize && s.fresh {
		l.split(s, p.Stream, len(text))
	}
}

// withoutReturn drops the carriage return that a terminal makes out of a line feed. It can be the last byte of the piece before.
func (l *Lines) withoutReturn(s *openLine, text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] == '\r' {
		return text[:n-1]
	}
	if n := len(s.text); len(text) == 0 && n > 0 && s.text[n-1] == '\r' {
		s.text = s.text[:n-1]
	}
	return text
}

// split emits the first MaxSize bytes of a line; the rest goes on as the line. The last piece of it has added the given length.
func (l *Lines) split(s *openLine, stream Stream, added int) {
	n := wholeRunes(s.text, l.MaxSize)
	if len(s.text)-n > added {
		n = l.MaxSize // the rest must be of the last piece, for that is what a position can say
	}
	s.cutOff = true
	l.flushGroup(stream.side())
	l.Emit(Line{Stream: stream, Stamp: s.stamp, Text: s.text[:n], Truncated: true})
	rest := copy(s.text, s.text[n:])
	s.text = s.text[:rest]
	if l.DropRest {
		s.fresh, s.drop, s.text = false, true, nil
		l.delivered(s, stream, s.pieces, 0)
		return
	}
	before := s.size - added                                      // what of the piece had been delivered before the stream was opened
	l.delivered(s, stream, s.pieces-1, uint32(before+added-rest)) //nolint:gosec // a length below maxPiece
}

// wholeRunes returns how many bytes of a text to take, at most n, so that no UTF-8 character is torn.
func wholeRunes(text []byte, n int) int {
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return n
}

// finish ends a line and emits what is left of it.
func (l *Lines) finish(s *openLine, stream Stream) {
	s.active = false
	switch {
	case s.fresh:
		l.whole(s, stream, s.text)
	case s.drop && s.known >= 0:
		l.delivered(s, stream, s.pieces, 0)
	case s.known >= 0:
		l.window.lines[s.known].end = s.end
	}
	if cap(s.text) > bufferMax {
		s.text = nil
	}
}

// delivered notes how much of a line is emitted.
func (l *Lines) delivered(s *openLine, stream Stream, full, cut uint32) {
	if s.known < 0 {
		s.known = int32(len(l.window.lines)) //nolint:gosec // few
		l.window.lines = append(l.window.lines, delivered{stamp: s.stamp, hash: s.hash, stderr: stream == Stderr})
		l.window.note(stream.side(), s.stamp)
	}
	line := &l.window.lines[s.known]
	line.full, line.cut, line.last, line.end = full, cut, s.last, s.end
	if s.pieces > 1 {
		l.window.cut[stream.side()] = s.stamp
	}
}

// Flush ends the lines that are open: the container has ended, and nothing more of them will come.
func (l *Lines) Flush() {
	for i := range l.streams {
		if s := &l.streams[i]; s.active {
			l.finish(s, Stream(i)) //nolint:gosec // two; a terminal is what stdout is
		}
		l.flushGroup(i)
	}
}

// Commit says that all that was emitted is delivered, and moves the window.
func (l *Lines) Commit() {
	w := &l.window
	if l.pending != nil {
		// What was open and delivered is still to come again. All that came meanwhile is among it.
		return
	}
	for i := range l.streams {
		s := &l.streams[i]
		if l.expect[i] {
			continue
		}
		w.open[i] = opened{}
		if s.active && (!s.drop || s.known >= 0) {
			w.open[i] = opened{stamp: s.stamp, hash: s.hash}
		}
		if g := &l.groups[i]; len(g.lines) > 0 {
			w.open[i] = opened{stamp: g.lines[0].stamp, hash: g.lines[0].hash}
		}
	}
	w.advance()
	known := [2]int32{l.streams[0].known, l.streams[1].known}
	l.streams[0].known, l.streams[1].known = -1, -1
	kept := 0
	var highest [2]int64                // by stream: newest stamp of those that are kept
	excess := len(w.lines) - mostHashes // a clock that is set back again and again lets none become old
	for i := range w.lines {
		line := &w.lines[i]
		// What comes again of a stream before a line that is kept is told by the floor; what comes behind it has to be kept too.
		if s := line.side(); line.stamp < w.floor[s] && highest[s] <= line.stamp || i < excess {
			continue
		}
		highest[line.side()] = max(highest[line.side()], line.stamp)
		for s := range known {
			if known[s] == int32(i) { //nolint:gosec // few
				l.streams[s].known = int32(kept) //nolint:gosec // few
			}
		}
		if kept < i {
			w.lines[kept] = *line
		}
		kept++
	}
	w.lines = w.lines[:kept]
	if cap(w.lines) > 4*maxHashes && len(w.lines) < maxHashes {
		w.lines = append([]delivered(nil), w.lines...)
	}
}
