package containerlogreceiver

import (
	"math/rand/v2"
	"time"
)

// backoff says how long to wait between tries: longer each time, and not the same for all.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	const first, longest = 100 * time.Millisecond, 3 * time.Second
	b.last = min(max(2*b.last, first), longest)
	return b.last/2 + rand.N(b.last/2) //nolint:gosec // only to spread
}

func (b *backoff) reset() { b.last = 0 }
