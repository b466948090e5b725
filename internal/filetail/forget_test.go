package filetail

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// What is remembered of files that are gone is a function of their number up to a bound, and of time up to a day.
func TestPositionsOfGoneFilesAreBoundedByNumberAndAge(t *testing.T) {
	x := newTail(t)
	x.settings.ReconcileInterval = time.Hour // after the first look only what the test asks for
	x.run().settledOnce()
	d := &discovery{Engine: x.engine, checked: time.Now()}
	put := func(i uint64, gone time.Time) {
		p := position{id: id{device: 1 << 40, inode: i}, path: fmt.Sprintf("%d.log", i), offset: 1, gone: gone.Unix()}
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		x.engine.stored[p.id] = p
	}
	now := time.Now()
	for i := range uint64(goneMost + 500) {
		put(i, now.Add(-time.Hour+time.Duration(i)*time.Millisecond))
	}
	put(1<<30, now.Add(-goneAge-time.Minute))
	d.expire(t.Context())
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	require.Len(t, x.engine.stored, goneMost)
	require.NotContains(t, x.engine.stored, id{1 << 40, 1 << 30}, "it is too old")
}

// settledOnce waits for the first look.
func (x *tail) settledOnce() {
	x.t.Helper()
	capturetest.WaitFor(x.t, "the first look", func() bool { return x.looks() > 0 })
}
