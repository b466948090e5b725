package containerlogreceiver

const (
	// spareSize is memory that is never touched, and so takes none. That it counts as alive is what it is for: the garbage collector runs
	// whenever as much was allocated as is alive, and a collector which holds next to nothing else would run it all the time.
	spareSize = 16 << 20
	// muchInTick is how many bytes of batches in a tick are much, from all streams together, and lastingTicks how long that has to be so
	// before the spare memory is taken, or not to be so before it is given back.
	muchInTick   = 512 << 10
	lastingTicks = 5
)

// spare is memory that is held while much is read. Only the ticker uses it.
type spare struct {
	block   []byte // nil: none is held
	counted int64  // bytes at the last tick
	ticks   int    // in a row that speak for a change
}

// look is told at each tick how many bytes were delivered in all.
func (s *spare) look(delivered int64) {
	much := delivered-s.counted >= muchInTick
	s.counted = delivered
	if held := s.block != nil; much == held {
		s.ticks = 0
		return
	}
	if s.ticks++; s.ticks < lastingTicks {
		return
	}
	s.ticks, s.block = 0, nil
	if much {
		s.block = make([]byte, spareSize)
	}
}
