package containerlogreceiver

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/jsonfile"
)

// bell wakes streams that wait for their files to grow. The kernel is asked about quiet files only: telling of each write to a busy one
// would cost more than reading it.
type bell struct {
	notify *fsnotify.Watcher // nil: nothing can be watched
	mu     sync.Mutex        // guards below
	ropes  map[string]*followed
}

func newBell(logger *zap.Logger) *bell {
	b := &bell{ropes: make(map[string]*followed)}
	var err error
	if b.notify, err = fsnotify.NewWatcher(); err != nil {
		logger.Warn("The kernel gives no directory watches; the engine's files are polled", zap.Error(err))
		b.notify = nil
	}
	return b
}

// run is the task that rings.
func (b *bell) run(ctx context.Context) {
	if b.notify == nil {
		return
	}
	defer b.notify.Close() //nolint:errcheck // watches end with it, whatever it says
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-b.notify.Events:
			b.ring(filepath.Dir(event.Name))
		case err := <-b.notify.Errors:
			if err != nil { // some events are lost
				b.ringAll()
			}
		}
	}
}

func (b *bell) ring(directory string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.ropes[directory]; c != nil {
		c.wake()
	}
}

func (b *bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.ropes {
		c.wake()
	}
}

// hang has a container's stream woken when something happens in a directory. It reports false where that cannot be told.
func (b *bell) hang(directory string, c *followed) bool {
	if b.notify == nil {
		return false
	}
	b.mu.Lock()
	b.ropes[directory] = c
	b.mu.Unlock()
	if b.notify.Add(directory) != nil {
		b.untie(directory)
		return false
	}
	return true
}

// take ends that.
func (b *bell) take(directory string) {
	b.untie(directory)
	_ = b.notify.Remove(directory) // it ends by itself with the directory
}

func (b *bell) untie(directory string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ropes, directory)
}

const (
	// firstPause is how long a stream waits at the end of a file that is being written to. It doubles until nobody writes any more.
	firstPause = 8 * time.Millisecond
	pauses     = 4
	// busyPause is how long where manyPieces or more came: each look costs as much as some hundred of them.
	busyPause  = 24 * time.Millisecond
	manyPieces = 100
	// longPause is how often a quiet file is looked at though the kernel tells of it, and pollPause where it does not.
	longPause = 2 * time.Second
	pollPause = 250 * time.Millisecond
)

// pause is how a stream waits for more of its file.
type pause struct {
	bell      *bell
	directory string
	c         *followed
	resting   *atomic.Bool

	quiet   int // pauses since something came
	busy    bool
	hanging bool
}

// next waits: a little, then longer, and then for the kernel. It returns an error only when ctx ends.
func (p *pause) next(ctx context.Context, log *jsonfile.Log) error {
	p.quiet++
	if p.quiet == 1 && p.busy {
		return p.c.awaitChange(ctx, busyPause)
	}
	if p.quiet <= pauses {
		return p.c.awaitChange(ctx, firstPause<<(p.quiet-1))
	}
	if !p.resting.Swap(true) {
		log.Rest()
		if p.hanging = p.bell.hang(p.directory, p.c); p.hanging {
			return ctx.Err() // what came before is not told of: the file is looked at once more
		}
	}
	if p.hanging {
		return p.c.awaitChange(ctx, longPause)
	}
	return p.c.awaitChange(ctx, pollPause)
}

// reset is for a file that so many pieces have come to.
func (p *pause) reset(pieces int) {
	p.quiet, p.busy = 0, pieces >= manyPieces
	if p.hanging {
		p.hanging = false
		p.bell.take(p.directory)
	}
	p.resting.Store(false)
}
