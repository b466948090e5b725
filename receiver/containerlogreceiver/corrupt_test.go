package containerlogreceiver

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 33: a line in the engine's file that it cannot read. Docker 20.10 steps over it while it follows.
func TestCorruptLineInTheEnginesFile(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogOpts: map[string]string{"max-size": "50k", "max-file": "5"}, Steps: []script.Step{
		script.Lines{Count: 100}, script.Wait{Signal: "USR1"}, script.Lines{Count: 100}, script.Wait{Signal: "USR2"}, script.Lines{Count: 1000, PerSecond: 1000}, script.Wait{},
	}})
	r := newRig(t, func(c *Config) { c.IdleCheckInterval = 500 * time.Millisecond })
	r.start()
	r.awaitLines(c.ID, 100)
	log, err := os.OpenFile(c.Inspect().LogPath, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		dockertest.Unavailable(t, "the engine's files are not readable here: %v", err)
	}
	_, err = log.WriteString("{\"log\":\"torn\n")
	require.NoError(t, err)
	require.NoError(t, log.Close())
	c.Signal("USR1")
	if !r.receiver.(*containerLog).follower.engine.current.Load().oldAPI { // Docker 28 gives nothing of what stands behind such a line
		waitFor(t, "that lines are lost is told", func() bool { return r.metric("logcapture_gaps") > 0 })
		require.Len(t, r.lines(c.ID), 100+1)
		r.stop()
		return
	}
	r.awaitLines(c.ID, 200)
	r.stop()
	r.start()
	waitFor(t, "the log is open", func() bool { return r.open(c.ID) })
	c.Signal("USR2")
	waitFor(t, "the last line", func() bool {
		records := r.records(c.ID)
		return records[len(records)-1].Body == "stdout-1-1200"
	})
	records := r.records(c.ID)
	for i, record := range records[:200] {
		require.Equal(t, fmt.Sprintf("stdout-1-%d", i+1), record.Body)
	}
	// The engine's history ends at the bad line (it shows 100 to 130 of the first 200 lines to a plain request too). So what was written
	// between the request and the beginning of the follow is not shown: a few lines, right behind those that were there before.
	// They are told as lost where they are missing, and only there.
	next, missing, told, upTo := 201, 0, false, ""
	for _, record := range records[200:] {
		if record.Log.EventName() == "container.log.gap" {
			from, to := gapOf(t, record)
			require.True(t, !told || from == upTo, "behind %d, from %s, to %s, and one up to %s", next-1, from, to, upTo)
			told, upTo = true, to
			continue
		}
		_, _, n, ok := script.ParseLine(record.Body)
		require.True(t, ok && n >= next, record.Body)
		require.Equal(t, n > next, told, "before %s, want %d", record.Body, next)
		missing += n - next
		next, told = n+1, false
	}
	require.Less(t, missing, 500)
	t.Logf("%d lines are hidden", missing)
	r.stop()
}
