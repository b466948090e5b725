package filetail

import "github.com/logcapture/logcapture/internal/capture"

const (
	// openShare is the part of max_inflight_bytes that lines and records may take in memory while they wait for their end.
	openShare = 2
	// leastShed is what is worth to be read again.
	leastShed = 16 << 10
)

// shedLocked bounds the memory of what is open. A file beyond the bound forgets what it has open, and goes on as after a restart: what it
// needs of the file is read again when there is more of it, or when it has waited for too long.
func (e *Engine) shedLocked(f *file) {
	size := 0
	if f.joiner != nil {
		size = f.joiner.Held()
	}
	e.opens += int64(size - f.opens)
	f.opens = size
	if e.opens <= int64(e.openLimit()) || size < leastShed || f.codec != nil || len(f.heirs) > 0 || !f.begun {
		return
	}
	if _, ok := f.joiner.Oldest(); !ok || len(f.successors) > 0 {
		return // its text is not in the file, or is just about to go on in another one
	}
	place := f.place
	place.open = f.openLines()
	f.stored, f.begun, f.joiner = &place, false, nil
	e.opens -= int64(size)
	f.opens = 0
}

func (e *Engine) openLimit() capture.ByteSize { return e.MaxInflight / openShare }
