package containerlogreceiver

import (
	"encoding/binary"
	"time"

	"github.com/logcapture/logcapture/internal/dockerstream"
)

// The first start of the receiver with an engine is stored, by the engine's clock: containers that were made later are read from their beginning
// also when that, and perhaps their end, was while the receiver was down. It matters only where history is skipped; but a container can ask for
// that by a label, and the configuration can change.

// firstStartKey is where it is stored, as Unix nanoseconds in 8 bytes, big-endian. It begins otherwise than the keys of containers do.
func firstStartKey(daemonID string) string { return "engine/" + daemonID }

const firstStartSize = 8

// storeFirstStart is called when the containers of an engine have been listed. One that cannot be read is replaced.
func (f *follower) storeFirstStart(s *session) {
	key := firstStartKey(s.daemonID)
	if len(f.positions[key]) == firstStartSize {
		return
	}
	f.positions[key] = binary.BigEndian.AppendUint64(nil, uint64(s.clock.UnixNano())) //nolint:gosec // after 1970
	f.Store.Put(key, f.positions[key])
}

// madeLater says that a container was made after the first start. created is in Unix seconds, as a list has it. Where the first start
// cannot be read, nothing is skipped.
func (f *follower) madeLater(s *session, created int64) bool {
	key := firstStartKey(s.daemonID)
	first := f.positions[key]
	if len(first) != firstStartSize {
		return first != nil || f.damaged[key]
	}
	return created >= time.Unix(0, int64(binary.BigEndian.Uint64(first))).Unix() //nolint:gosec // as it was stored
}

// untouched is for a container that has never run: whenever it does, all of its log is new.
func (f *follower) untouched(c *followed) {
	c.mu.Lock()
	found := !c.before.IsZero()
	c.before = time.Time{}
	c.mu.Unlock()
	if found && f.selected(c) {
		f.keep(c, &dockerstream.Window{})
	}
}
