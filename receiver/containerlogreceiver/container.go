package containerlogreceiver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lifecycle"
)

// description is what is known about a container: from a list or its start event at first, and then from an inspect.
type description struct {
	name     string
	image    string // as it was named when the container was made; empty while unknown
	created  int64  // Unix seconds; of a list only
	imageID  string
	labels   map[string]string
	env      []string
	state    string // when it was found, or running since it was started; empty while unknown
	driver   string // log driver; empty while unknown
	logPath  string // of the json-file driver; empty while unknown
	terminal bool
	restart  bool  // has a restart policy
	removed  bool  // by the engine, when it ends
	rotation int64 // bytes at which the log is rotated; 0: never, or unknown
	plain    bool  // what is rotated is not compressed

	inspected bool // all is known
}

// followed is one container. The reconciler makes it; its stream and the ticker use it too.
type followed struct {
	id, key string
	// changed has a token when something below changed that the stream waits for.
	changed chan struct{}
	noted   atomic.Bool // there are notes

	mu       sync.Mutex // guards all below
	about    description
	source   *emit.Source // made of about; nil when that has changed
	task     *lifecycle.Task
	stream   *stream
	position []byte    // as stored, of the last delivery; nil: none
	before   time.Time // the receiver's start by the engine's clock, of a container that was there before it; else zero
	starts   int       // counts the starts that are known
	running  bool      // as far as events and lists tell
	died     time.Time
	settled  bool // its last run was read to the end
	gone     bool // removed from the engine
	refused  bool // the engine cannot read its log
	warned   bool // of its labels

	startedAt int64 // by the last event, or the inspect, of the engine's clock
	notes     []note
}

func newFollowed(id, key string) *followed {
	return &followed{id: id, key: key, changed: make(chan struct{}, 1)}
}

// started notes a start.
func (c *followed) started() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.starts++
	c.running, c.settled = true, false
	c.about.state = container.StateRunning
	c.wake()
}

// ended notes that the container does not run any more.
func (c *followed) ended(removed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		c.died = time.Now()
	}
	c.running = false
	c.gone = c.gone || removed
	c.wake()
}

func (c *followed) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// rename gives later records another name.
func (c *followed) rename(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.about.name != name {
		c.about.name = name
		c.source = nil
	}
}

// learn takes what an inspect says.
func (c *followed) learn(info container.InspectResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.source = nil
	state := c.about.state
	c.about = described(info)
	c.about.state = state
	if info.ContainerJSONBase != nil && info.State != nil {
		c.startedAt = max(c.startedAt, startOf(info)) // what runs already has no event of its start
	}
}

// readBy says that the stream is the one that reads the container.
func (c *followed) readBy(st *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream == st
}

// awaitChange waits for a change, at most for d. It returns an error only when ctx ends.
func (c *followed) awaitChange(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// cancel ends the stream and waits for it.
func (c *followed) cancel() {
	c.mu.Lock()
	task := c.task
	c.mu.Unlock()
	if task != nil {
		task.Cancel()
		<-task.Done()
	}
}

// stored returns the position of the last delivery, nil for none.
func (c *followed) stored() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.position
}

// state is a copy of what tells how a stream goes on.
type state struct {
	starts        int
	running, gone bool
	restart       bool
}

func (c *followed) state() state {
	c.mu.Lock()
	defer c.mu.Unlock()
	return state{starts: c.starts, running: c.running, gone: c.gone, restart: c.about.restart}
}
