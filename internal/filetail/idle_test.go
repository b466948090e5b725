//go:build linux

package filetail

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestTenThousandIdleFilesCostLittle(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprint("polled ", polling), func(t *testing.T) {
			x := newTail(t)
			const files = 10_000
			for i := range files {
				x.write(fmt.Sprintf("%d.log", i), "one\n")
			}
			x.settings.Polling = polling
			x.settings.PollInterval, x.settings.ReconcileInterval = 200*time.Millisecond, time.Second // a tenth of the default
			x.run()
			capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == files })
			began, used := time.Now(), processorTime(t)
			time.Sleep(4 * time.Second)
			share := float64(processorTime(t)-used) / float64(time.Since(began))
			t.Logf("%.2f %% of a core with a reconcile each second, %d files open", 100*share, x.engine.opened())
			require.Less(t, share, 0.25)
			require.LessOrEqual(t, x.engine.opened(), int64(x.engine.handles.limit))
		})
	}
}

// processorTime returns the processor time of the process.
func processorTime(t *testing.T) time.Duration {
	var usage syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
