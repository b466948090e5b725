package lifecycle

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// Group starts tasks, counts them by kind, cancels them and waits for them. All methods are safe for concurrent use.
type Group struct {
	onPanic func(error)

	ctx    context.Context // ends when Stop begins; parent of every task's context
	cancel context.CancelFunc
	abort  context.CancelFunc // ends the graceful context

	mu      sync.Mutex // guards all below
	tasks   map[*Task]struct{}
	stopped time.Time     // zero until Stop begins; no task starts after
	idle    chan struct{} // closed when stopped and the last task has ended
}

type gracefulKey struct{}

// NewGroup makes an empty group. Its contexts carry the values of parent and end at the latest with it. onPanic is told of a
// panic in a task as a [*PanicError]; it runs in the goroutine of the task.
func NewGroup(parent context.Context, onPanic func(error)) *Group {
	graceful, abort := context.WithCancel(parent)
	ctx, cancel := context.WithCancel(context.WithValue(graceful, gracefulKey{}, graceful))
	return &Group{
		onPanic: onPanic,
		ctx:     ctx,
		cancel:  cancel,
		abort:   abort,
		tasks:   make(map[*Task]struct{}),
		idle:    make(chan struct{}),
	}
}

// Graceful returns the context for a delivery within a task: it outlives the task's context by the grace given to [Group.Stop].
// For a context that belongs to no group it is ctx itself.
func Graceful(ctx context.Context) context.Context {
	if graceful, ok := ctx.Value(gracefulKey{}).(context.Context); ok {
		return graceful
	}
	return ctx
}

// Go starts run in a goroutine of its own as a task of the given kind and name, and returns it. The context that run gets ends when
// the group stops or the task is cancelled; run must return then. Once Stop has begun nothing is started: the task returned is over.
func (g *Group) Go(kind, name string, run func(ctx context.Context)) *Task {
	ctx, cancel := context.WithCancel(g.ctx)
	t := &Task{Kind: kind, Name: name, Started: time.Now(), cancel: cancel, done: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopped.IsZero() {
		cancel()
		close(t.done)
		return t
	}
	g.tasks[t] = struct{}{}
	go g.run(ctx, t, run)
	return t
}

func (g *Group) run(ctx context.Context, t *Task, run func(ctx context.Context)) {
	defer g.end(t)
	defer func() {
		if v := recover(); v != nil {
			g.onPanic(&PanicError{Kind: t.Kind, Name: t.Name, Value: v, Stack: debug.Stack()})
		}
	}()
	run(ctx)
}

func (g *Group) end(t *Task) {
	t.cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tasks, t)
	close(t.done)
	if !g.stopped.IsZero() && len(g.tasks) == 0 {
		close(g.idle)
	}
}

// Stop ends the contexts of all tasks, after grace (measured from now, and not later than ctx) the graceful context too, and waits
// until every task has ended. When ctx ends first it returns a [*StillRunningError] that names the others; the graceful context is
// ended by then, so that they cannot deliver any more. Calling it again waits again.
func (g *Group) Stop(ctx context.Context, grace time.Duration) error {
	g.begin()
	defer g.abort()
	graceOver := time.NewTimer(grace)
	defer graceOver.Stop()
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
	case <-graceOver.C:
	}
	g.abort()
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return g.stillRunning(ctx)
	}
}

// begin ends the contexts of all tasks; from here on no task starts.
func (g *Group) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel()
	if !g.stopped.IsZero() {
		return
	}
	g.stopped = time.Now()
	if len(g.tasks) == 0 {
		close(g.idle)
	}
}

// stillRunning names what runs after ctx ended, or returns nil when the last task ended meanwhile.
func (g *Group) stillRunning(ctx context.Context) error {
	tasks := g.Running()
	if len(tasks) == 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return &StillRunningError{Tasks: tasks, Waited: time.Since(g.stopped), cause: context.Cause(ctx)}
}

// Counts returns how many tasks of each kind run now.
func (g *Group) Counts() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	counts := make(map[string]int)
	for t := range g.tasks {
		counts[t.Kind]++
	}
	return counts
}

// Running returns the tasks that run now, longest running first.
func (g *Group) Running() []*Task {
	g.mu.Lock()
	defer g.mu.Unlock()
	return sortedTasks(g.tasks)
}

// PanicError is a panic in a task, with the stack of its goroutine.
type PanicError struct {
	Kind, Name string
	Value      any
	Stack      []byte
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("panic in %s %q: %v\n%s", e.Kind, e.Name, e.Value, e.Stack)
}
