package capture

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

const (
	// guardInterval is the time between two looks at the tasks. A task that is on its way out at one look is gone at the next, so
	// only what is too much at two looks is a leak.
	guardInterval = 10 * time.Second
	// guardNames bounds how many tasks a warning names.
	guardNames = 10
)

// guard watches that no kind of task outnumbers what it is there for.
type guard struct {
	mu     sync.Mutex // guards limits
	limits map[string]func() int
	over   map[string]bool // kinds that were over their limit at the last look; of the guard's task
}

// Expect says how many tasks of a kind there are reasons for. Where more than that run, for longer than a task takes to end, the log
// names them once and the component status tells, until it is over.
func (c *Capture) Expect(kind string, limit func() int) {
	c.guard.mu.Lock()
	defer c.guard.mu.Unlock()
	c.guard.limits[kind] = limit
}

// watchTasks looks for leaks until ctx ends.
func (c *Capture) watchTasks(ctx context.Context) {
	for lifecycle.Sleep(ctx, guardInterval) == nil {
		leaked := c.leaked()
		if c.Status.Set("tasks", leaked) && leaked != nil {
			c.Logger.Warn("More tasks run than there are reasons for", zap.Error(leaked))
		}
	}
}

// leaked returns an error that names the tasks of kinds that are over their limit for the second time in a row.
func (c *Capture) leaked() error {
	counts := c.readers.Counts()
	limits := c.guard.current()
	over := make(map[string]bool)
	var leaks []string
	for kind, limit := range limits {
		if counts[kind] <= limit {
			continue
		}
		over[kind] = true
		if c.guard.over[kind] {
			leaks = append(leaks, fmt.Sprintf("%d of kind %s where %d are expected: %s", counts[kind], kind, limit, c.names(kind)))
		}
	}
	c.guard.over = over
	if len(leaks) == 0 {
		return nil
	}
	slices.Sort(leaks)
	return fmt.Errorf("leaked tasks: %s", strings.Join(leaks, "; "))
}

func (g *guard) current() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	limits := make(map[string]int, len(g.limits))
	for kind, limit := range g.limits {
		limits[kind] = limit()
	}
	return limits
}

// names lists tasks of a kind, longest running first.
func (c *Capture) names(kind string) string {
	var names []string
	for _, t := range c.readers.Running() {
		if t.Kind != kind {
			continue
		}
		if len(names) == guardNames {
			return strings.Join(names, ", ") + ", …"
		}
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ")
}
