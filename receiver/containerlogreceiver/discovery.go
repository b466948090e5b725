package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/checkpoint"
	"github.com/logcapture/logcapture/internal/lifecycle"
)

// follower owns the set of followed containers. One task, the reconciler, changes it: by lists, which are the truth, and between
// them by events.
type follower struct {
	*capture.Capture
	config *Config
	engine *engine
	own    own
	began  time.Time
	rules  rules
	// ended bounds how many containers that do not run are read at a time.
	ended *semaphore.Weighted
	// lookBacks bounds the requests for the end of a log whose lines are on a connection too.
	lookBacks *semaphore.Weighted
	bell      *bell // nil: all logs are asked for

	advised      atomic.Bool // of a log without bound
	advisedFiles atomic.Bool // that the engine's files cannot be read

	toldUndescribed atomic.Bool // that the engine describes no container

	positions map[string][]byte // as stored, of containers that were not seen yet; used by the reconciler
	damaged   map[string]bool   // keys whose position cannot be read
	daemonID  string            // of the session before; used by the reconciler
	listed    bool              // the containers of this engine have been listed; used by the reconciler
	heard     time.Time         // until when its events are known, by its clock; used by the reconciler

	mu         sync.Mutex // guards below
	containers map[string]*followed
	up         chan struct{} // closed while the engine answers
}

func newFollower(ctx context.Context, c *capture.Capture, config *Config) (*follower, error) {
	address, err := resolve(ctx, config)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(address)
	if err != nil {
		return nil, err
	}
	rules, err := config.build()
	if err != nil {
		return nil, err
	}
	const atOnce = 8
	return &follower{
		Capture: c, config: config, engine: e, own: findOwn(), began: time.Now(), rules: rules,
		ended: semaphore.NewWeighted(atOnce), lookBacks: semaphore.NewWeighted(atOnce),
		containers: make(map[string]*followed), up: make(chan struct{}),
	}, nil
}

func (f *follower) start() error {
	f.OnShutdown(f.engine.close)
	if err := f.observe(); err != nil {
		return err
	}
	if f.config.ReadFrom != readAPI && runtime.GOOS != "windows" {
		f.bell = newBell(f.Logger)
		f.Go("bell", "", f.bell.run)
	}
	f.Expect("bell", func() int {
		if f.bell == nil {
			return 0
		}
		return 1
	})
	f.expectTasks()
	f.Go("reconciler", "", f.reconcile)
	f.Go("ticker", "", f.tick)
	if f.config.IdleCheckInterval > 0 {
		f.Go("watchdog", "", f.watch)
	}
	return nil
}

// expectTasks says how many tasks there are reasons for.
func (f *follower) expectTasks() {
	f.Expect("stream", func() int { return int(f.following()) })
	f.Expect("inspect", func() int { return len(f.all()) })
	for _, kind := range []string{"reconciler", "ticker", "watchdog"} {
		f.Expect(kind, func() int { return 1 })
	}
}

func (f *follower) all() []*followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*followed, 0, len(f.containers))
	for _, c := range f.containers {
		all = append(all, c)
	}
	return all
}

// reconcile is the task that keeps the set of followed containers right until ctx ends.
func (f *follower) reconcile(ctx context.Context) {
	positions, damaged, err := f.LoadPositions(ctx)
	if err != nil {
		return // the end
	}
	f.takePositions(positions, damaged)
	wait := backoff{}
	if f.engine.ssh != nil {
		wait.longest = sshPause
	}
	for {
		err := f.session(ctx, &wait)
		lost := f.setDown()
		if ctx.Err() != nil {
			return
		}
		// A connection that ends is no trouble yet: proxies cut them as they like. One that cannot be made is.
		if !lost && f.Status.Set("daemon", fmt.Errorf("container engine at %s: %w", f.engine.address.host, err)) {
			f.Logger.Warn("The container engine does not answer; capture goes on when it does", zap.Error(err))
		}
		if lifecycle.Sleep(ctx, wait.next()) != nil {
			return
		}
	}
}

func (f *follower) takePositions(positions map[string][]byte, damaged *checkpoint.DamagedError) {
	f.positions = positions
	f.damaged = make(map[string]bool)
	if damaged == nil {
		return
	}
	for _, key := range damaged.Keys {
		f.damaged[key] = true
	}
	if damaged.Index {
		f.rules.byDefault.history = -1 // whose position is lost cannot be told: nothing may be skipped
	}
}

// session follows one connection to the engine, until it is lost.
func (f *follower) session(ctx context.Context, wait *backoff) error {
	ctx, cancel := context.WithCancel(ctx)
	s, err := f.engine.connect(ctx)
	if err != nil {
		cancel()
		return err
	}
	f.meet(s)
	// Subscribed before the list, so that nothing falls between, and from where the last connection ended: engines keep the newest events.
	messages, failed := s.events(ctx, f.heard)
	defer func() {
		cancel()
		for range failed { // the client's goroutine ends with this channel
		}
	}()
	if err := f.resync(ctx, s); err != nil {
		return err
	}
	f.setUp()
	wait.reset()
	resync := time.NewTicker(f.config.ResyncInterval)
	defer resync.Stop()
	known := f.heard.UnixNano()
	for {
		select {
		case message := <-messages:
			if message.TimeNano > known { // else it is told again
				f.handle(s, message)
			}
		case err, ok := <-failed:
			if !ok {
				err = errors.New("the stream of events has ended")
			}
			return err
		case <-resync.C:
			if err := f.resync(ctx, s); err != nil {
				return err
			}
		}
	}
}

// meet forgets the containers of another engine that was at the same address.
func (f *follower) meet(s *session) {
	if f.daemonID == s.daemonID {
		if s.clock.Before(f.heard) { // it was set back
			f.heard = s.clock
		}
		return
	}
	if f.daemonID != "" {
		f.Logger.Info("Another container engine answers", zap.String("id", s.daemonID))
		for _, c := range f.all() {
			f.mu.Lock()
			delete(f.containers, c.id)
			f.mu.Unlock()
			c.cancel()
			if position := c.stored(); position != nil {
				f.positions[c.key] = position
			}
		}
	}
	f.daemonID, f.listed, f.heard = s.daemonID, false, s.clock
}

func (f *follower) setUp() {
	f.mu.Lock()
	close(f.up)
	f.mu.Unlock()
	if f.Status.Set("daemon", nil) {
		f.Logger.Info("The container engine answers again")
	}
}

// setDown returns whether the engine has answered until now.
func (f *follower) setDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.up:
		f.up = make(chan struct{})
		return true
	default:
		return false
	}
}

// awaitUp waits until the engine answers.
func (f *follower) awaitUp(ctx context.Context) error {
	f.mu.Lock()
	up := f.up
	f.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resync makes the set of followed containers what the engine says it is.
func (f *follower) resync(ctx context.Context, s *session) error {
	list, err := s.list(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	present := make(map[string]bool, len(list))
	for i := range list {
		present[list[i].ID] = true
		f.seen(s, &list[i])
	}
	for _, c := range f.all() {
		if !present[c.id] {
			c.ended(true)
			f.forget(c)
		}
	}
	prefix := keyPrefix(s.daemonID)
	for key := range f.positions {
		if id, ok := strings.CutPrefix(key, prefix); ok && !present[id] {
			delete(f.positions, key)
			f.Store.Delete(key)
		}
	}
	f.storeFirstStart(s)
	f.listed = true
	return nil
}

func keyPrefix(daemonID string) string { return "container/" + daemonID + "/" }

// stateConfigured is what Podman calls one that was created and has never run.
const stateConfigured = "configured"

// seen takes a container from a list.
func (f *follower) seen(s *session, summary *container.Summary) {
	if f.own.is(summary.ID) {
		return
	}
	c := f.get(summary.ID)
	if c == nil {
		c = f.add(s, summary.ID, listed(summary))
	}
	if summary.State == container.StateCreated || summary.State == stateConfigured {
		f.untouched(c)
		return
	}
	if name := nameOf(summary.Names); name != "" {
		c.rename(name) // the event may have been missed
	}
	c.mu.Lock()
	c.running = summary.State == container.StateRunning || summary.State == container.StatePaused || summary.State == container.StateRestarting
	if c.stream == nil && (c.running || c.about.state == "") {
		c.about.state = summary.State
	}
	needed := c.stream == nil && !c.refused && (c.running || !c.settled)
	c.mu.Unlock()
	if needed && f.selected(c) {
		f.follow(c, s)
	}
}

// selected says whether a container is to be captured as far as is known; what an inspect adds is looked at by its stream.
func (f *follower) selected(c *followed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	own, err := f.rules.overrides.override(c.about.labels, f.rules.byDefault)
	selected := f.rules.selection.includes(&c.about)
	if err != nil && selected && !c.warned {
		c.warned = true
		f.Logger.Warn("Labels of a container are not understood, what they set stays as configured", zap.String("container", c.id), zap.Error(err))
	}
	return own.enabled && selected
}

func (f *follower) get(id string) *followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.containers[id]
}

// add makes a container known, with its stored position and what is known about it.
func (f *follower) add(s *session, id string, about description) *followed {
	key := keyPrefix(s.daemonID) + id
	c := newFollowed(id, key)
	c.about = about
	c.position = f.positions[key]
	delete(f.positions, key)
	if c.position == nil && !f.listed && !f.damaged[key] && !f.madeLater(s, about.created) {
		// It was there before the receiver.
		c.before = f.began
		if !f.engine.address.local() { // by the engine's clock: how long before it was asked did the receiver start?
			c.before = s.clock.Add(-s.asked.Sub(f.began))
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.containers[id] = c
	return c
}
