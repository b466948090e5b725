package dockerstream

// maxGroup bounds the lines of a record.
const maxGroup = 10_000

// group is a record of several lines whose end has not come. None of them counts as delivered before it is.
type group struct {
	stream Stream
	text   []byte
	lines  []delivered
}

// whole takes a line that is complete, or the last part of one that was split.
func (l *Lines) whole(s *openLine, stream Stream, text []byte) {
	side := stream.side()
	if s.cutOff || (l.Starts == nil && l.Ends == nil) {
		l.flushGroup(side)
		l.Emit(Line{Stream: stream, Stamp: s.stamp, Text: text, Truncated: s.cutOff})
		l.delivered(s, stream, s.pieces, 0)
		return
	}
	g := &l.groups[side]
	starts := l.Starts != nil && l.Starts(text)
	if starts || len(g.text)+1+len(text) > l.MaxSize || len(g.lines) >= maxGroup {
		l.flushGroup(side)
	}
	if len(g.lines) > 0 {
		g.text = append(g.text, '\n')
	}
	g.stream = stream
	g.text = append(g.text, text...)
	g.lines = append(g.lines, delivered{stamp: s.stamp, hash: s.hash, full: s.pieces, last: s.last, end: s.end, stderr: stream == Stderr})
	if l.Ends != nil && l.Ends(text) {
		l.flushGroup(side)
	}
}

// FlushGroups emits records whose end has not come, because it was waited for long enough.
func (l *Lines) FlushGroups() {
	for side := range l.groups {
		l.flushGroup(side)
	}
}

// flushOld emits records that a line of this stamp comes too late for.
func (l *Lines) flushOld(stamp int64) {
	for side := range l.groups {
		if n := len(l.groups[side].lines); n > 0 && l.FlushAfter > 0 && stamp-l.groups[side].lines[n-1].stamp > l.FlushAfter {
			l.flushGroup(side)
		}
	}
}

// Grouping says that there are lines that wait for the end of their record.
func (l *Lines) Grouping() bool { return len(l.groups[0].lines)+len(l.groups[1].lines) > 0 }

func (l *Lines) flushGroup(side int) {
	g := &l.groups[side]
	if len(g.lines) == 0 {
		return
	}
	l.Emit(Line{Stream: g.stream, Stamp: g.lines[0].stamp, Text: g.text})
	for _, line := range g.lines {
		l.window.note(side, line.stamp)
		if line.full > 1 {
			l.window.cut[side] = line.stamp
		}
	}
	l.window.lines = append(l.window.lines, g.lines...)
	g.text, g.lines = g.text[:0], g.lines[:0]
	if cap(g.text) > bufferMax {
		*g = group{}
	}
}
