package dockerstream

// Opened says that a stream begins: anew since Window.Since, or, where bounded is set, with a part of that.
func (l *Lines) Opened(bounded bool) {
	since, begun := l.window.Since()
	l.since = since
	l.pending, l.left, l.seen, l.passed = make(map[uint64]int32, len(l.window.lines)), 0, false, [2]bool{}
	l.opened, l.latest, l.replaying = l.window.newest, [2]int64{}, begun
	for i := len(l.window.lines) - 1; i >= 0; i-- {
		line := &l.window.lines[i]
		line.next = l.pending[line.hash]
		l.pending[line.hash] = int32(i) + 1 //nolint:gosec // few
		l.latest[line.side()] = max(l.latest[line.side()], line.stamp)
		if line.stamp >= since {
			l.left++
		}
	}
	l.bounded, l.first, l.come = bounded, true, [2]bool{}
	l.recent = recent{} // what a new connection repeats is told by the window
	for s := range l.streams {
		l.streams[s], l.groups[s] = openLine{}, group{}
		l.expect[s] = l.window.open[s].hash != 0
	}
}

// Repeats says that nothing comes of the next piece: it was delivered before, and nothing waits that it could end.
func (l *Lines) Repeats(p Piece) bool {
	if !l.replaying || l.Grouping() || l.streams[0].waits() || l.streams[1].waits() {
		return false
	}
	side := p.Stream.side()
	if s := &l.streams[side]; s.active && l.continues(s, p) {
		return s.drop || s.full > 0
	}
	if i := l.pending[hash(p)]; i > 0 {
		return l.window.lines[i-1].full > 0
	}
	return l.forgotten(p)
}

func (s *openLine) waits() bool { return s.active && s.fresh }

// forgotten says that the piece is of a line that was delivered too long ago to be remembered.
func (l *Lines) forgotten(p Piece) bool {
	side := p.Stream.side()
	return l.replaying && p.Stamp < l.window.floor[side] && (!l.passed[side] || p.Stamp == l.window.cut[side])
}

// begin decides what happens to a line by its first piece, which has the hash h.
func (l *Lines) begin(s *openLine, p Piece, h uint64) error {
	*s = openLine{active: true, stamp: p.Stamp, hash: h, known: -1, text: s.text[:0]}
	side := p.Stream.side()
	if i := l.pending[s.hash]; i > 0 {
		s.known = i - 1
		line := &l.window.lines[s.known]
		l.pending[s.hash] = line.next
		s.full, s.cut = line.full, line.cut
		l.seen = true
		if line.stamp >= l.since {
			l.left--
		}
		l.came(side, line.stamp)
		if s.hash == l.window.open[side].hash {
			l.expect[side] = false // a part of it was delivered
		}
		return nil
	}
	switch {
	case l.forgotten(p), l.DropRepeats && p.Stamp <= l.newest[side] && l.window.has(s.hash), l.partAgain(p, s.hash):
		s.drop = true
	case s.hash == l.window.open[side].hash:
		l.seen, l.expect[side] = true, false // it came before, and was not delivered; what was delivered after it began is still to come
	default:
		if err := l.arrived(p); err != nil {
			s.active = false
			return err
		}
	}
	return nil
}

// came notes a line that was delivered. With the newest of a stream all lines of that stream have come that are forgotten, since they are
// older; but one can end behind it. Where all lines of a stream are forgotten, it is the newest of the other.
func (l *Lines) came(side int, stamp int64) {
	other := 1 - side
	l.passed[side] = l.passed[side] || stamp >= l.latest[side]
	l.passed[other] = l.passed[other] || l.latest[other] == 0 && stamp >= l.opened
}

// partAgain says that the piece is a later part of a line that was delivered as a whole: the first that is left of a line whose beginning
// was rotated away, or the piece at which the log was rotated, which engines repeat.
func (l *Lines) partAgain(p Piece, hash uint64) bool {
	side := p.Stream.side()
	if l.Join != JoinStamp || p.Stamp > l.newest[side] || p.Stamp == l.window.open[side].stamp {
		return false // the last: what was delivered of the line may be a part of it only
	}
	left := l.pending != nil && !l.come[side]
	before := l.window.lines
	if l.window.cut[side] < p.Stamp {
		before = nil // most containers have no such lines
	}
	for _, lines := range [][]delivered{before, l.groups[side].lines} {
		for i := len(lines) - 1; i >= 0; i-- {
			line := &lines[i]
			if line.stamp == p.Stamp && line.full > 1 && line.side() == side && (left || line.last == hash) {
				return true
			}
		}
	}
	return false
}

// arrived notes the first piece of a line that was never seen before.
func (l *Lines) arrived(p Piece) error {
	side := p.Stream.side()
	late := p.Stamp > l.opened+lag
	if l.bounded && (l.expect[side] || late && l.expect[1-side]) {
		return ErrTailShort // the line that was open is stored before this one, and has not come
	}
	switch {
	case l.pending == nil && !l.replaying:
	case l.left > 0 && !l.seen && p.Stamp > l.opened:
		// All lines that were delivered are stored before this one, and none of them came.
		if l.bounded {
			return ErrTailShort
		}
		l.Gap(l.opened, p.Stamp)
		l.caughtUp()
	case late || len(l.window.lines) == 0:
		l.caughtUp()
	case l.left <= 0:
		l.pending = nil
	}
	if p.Stamp < max(l.window.lowest(side), l.window.from(side)) && (l.passed[side] || !l.replaying) {
		l.steppedBack(p.Stamp)
	}
	l.newest[side] = p.Stamp
	return nil
}

// caughtUp ends the repetition: whatever comes now is new.
func (l *Lines) caughtUp() { l.pending, l.left, l.expect, l.replaying = nil, 0, [2]bool{}, false }

// steppedBack follows a clock that was set back: lines would be skipped if the stream were opened again at the old time. What lies
// between may be repeated then.
func (l *Lines) steppedBack(stamp int64) {
	l.window.newest = stamp
	l.window.last = [2]int64{stamp, stamp}
	l.window.floor = [2]int64{stamp, stamp}
}

// before says that the piece is older than the position, so that a tail without "since" has everything from there on.
func (l *Lines) before(p Piece) bool { return p.Stamp < l.window.from(p.Stream.side()) }
