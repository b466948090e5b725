package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Task is one goroutine of a [Group].
type Task struct {
	Kind    string // what it does, one of few: "stream", "worker", …
	Name    string // for whom: a container, a path, empty where there is one of the kind
	Started time.Time

	cancel context.CancelFunc
	done   chan struct{}
}

// Cancel ends the task's context. It does not wait; see [Task.Done].
func (t *Task) Cancel() { t.cancel() }

// Done is closed when the task's function has returned.
func (t *Task) Done() <-chan struct{} { return t.done }

func (t *Task) String() string {
	if t.Name == "" {
		return t.Kind
	}
	return fmt.Sprintf("%s %q", t.Kind, t.Name)
}

func sortedTasks(tasks map[*Task]struct{}) []*Task {
	return slices.SortedFunc(maps.Keys(tasks), func(a, b *Task) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// StillRunningError names the tasks that had not ended when the context of [Group.Stop] did.
type StillRunningError struct {
	Tasks  []*Task
	Waited time.Duration // since Stop began
	cause  error
}

func (e *StillRunningError) Error() string {
	names := make([]string, len(e.Tasks))
	for i, t := range e.Tasks {
		names[i] = fmt.Sprintf("%s (running for %s)", t, time.Since(t.Started).Round(time.Millisecond))
	}
	return fmt.Sprintf("still running %s after the stop: %s: %v",
		e.Waited.Round(time.Millisecond), strings.Join(names, ", "), e.cause)
}

func (e *StillRunningError) Unwrap() error { return e.cause }

// Sleep waits for d, or until ctx ends: then it returns the error of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
