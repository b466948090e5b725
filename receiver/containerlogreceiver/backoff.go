package containerlogreceiver

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// backoff says how long to wait between tries: longer each time, and not the same for all.
type backoff struct {
	last    time.Duration
	longest time.Duration // 0: 3 s
}

func (b *backoff) next() time.Duration {
	const first, usual = 100 * time.Millisecond, 3 * time.Second
	b.last = min(max(2*b.last, first), cmp.Or(b.longest, usual))
	return b.last/2 + rand.N(b.last/2) //nolint:gosec // only to spread
}

func (b *backoff) reset() { b.last = 0 }
