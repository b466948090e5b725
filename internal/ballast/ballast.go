// Package ballast has the garbage collector run less often while much is delivered.
//
// It runs whenever as much was allocated as is alive, and a process which holds next to nothing else would run it 150 times a second. Memory
// that is never touched takes none, and counts as alive.
package ballast

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

const (
	// Size is what the ballast of the process has, in bytes. So much may be allocated more before the garbage collector runs.
	Size = 28 << 20
	// step is how many bytes are told of at a time, and much, in steps, is how many within soon are the beginning of a busy time. That is over
	// when less came within lasting.
	step    = 512 << 10
	much    = 8
	soon    = time.Second
	lasting = 2 * time.Second
)

// shared is the ballast of the process, which has one heap.
var shared struct {
	sync.Mutex
	holders int
	block   strings.Builder
}

func hold() {
	shared.Lock()
	defer shared.Unlock()
	if shared.holders++; shared.block.Cap() == 0 {
		shared.block.Grow(Size) // make would set to zero what had been in use before, and so touch it
	}
}

func release() {
	shared.Lock()
	defer shared.Unlock()
	if shared.holders--; shared.holders == 0 {
		shared.block.Reset()
	}
}

// Held says whether there is one now.
func Held() bool {
	shared.Lock()
	defer shared.Unlock()
	return shared.block.Cap() > 0
}

// Gauge is told of what is delivered. It is safe for concurrent use.
type Gauge struct {
	delivered atomic.Int64
	steps     chan struct{} // has a token when a step more was delivered
}

// NewGauge makes one that has seen nothing.
func NewGauge() *Gauge { return &Gauge{steps: make(chan struct{}, 1)} }

// Add counts bytes.
func (g *Gauge) Add(n int) {
	after := g.delivered.Add(int64(n))
	if after/step == (after-int64(n))/step {
		return
	}
	select {
	case g.steps <- struct{}{}:
	default:
	}
}

// Run is a task that holds the ballast while much is delivered. It does nothing while little is.
func (g *Gauge) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.steps:
		}
		if !g.begins(ctx) {
			continue
		}
		hold()
		for before := g.delivered.Load(); lifecycle.Sleep(ctx, lasting) == nil; {
			now := g.delivered.Load()
			if now-before < much*step {
				break
			}
			before = now
		}
		release()
	}
}

// begins waits whether much comes soon.
func (g *Gauge) begins(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	for before := g.delivered.Load(); g.delivered.Load()-before < much*step; {
		select {
		case <-ctx.Done():
			return false
		case <-g.steps:
		}
	}
	return true
}
