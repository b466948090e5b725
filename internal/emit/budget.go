package emit

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Budget bounds the bytes that the readers of a receiver hold at a time: read, and not yet acknowledged. A reader takes what its
// batch may need before it reads, in one piece, so that readers cannot lock each other out. It is safe for concurrent use.
type Budget struct {
	limit int64
	free  *semaphore.Weighted
	used  atomic.Int64
}

// NewBudget makes a budget of limit bytes.
func NewBudget(limit int64) *Budget {
	return &Budget{limit: limit, free: semaphore.NewWeighted(limit)}
}

// Acquire waits until n bytes are free, and takes them; n beyond the whole budget takes all of it. It returns what it took, for
// Release, or an error when ctx ends.
func (b *Budget) Acquire(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.limit)
	if err := b.free.Acquire(ctx, n); err != nil {
		return 0, err
	}
	b.used.Add(n)
	return n, nil
}

// Release gives back what Acquire took.
func (b *Budget) Release(n int64) {
	b.used.Add(-n)
	b.free.Release(n)
}

// Used returns the bytes that are taken now.
func (b *Budget) Used() int64 { return b.used.Load() }
