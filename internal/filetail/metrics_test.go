package filetail

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestMetricsSayWhatIsRead(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 2
	for _, name := range []string{"a.log", "b.log", "c.log"} {
		x.write(name, name+"\n")
	}
	x.run()
	capturetest.WaitFor(t, "the lines", func() bool { return x.consumer.Len() == 3 })
	x.settled()
	require.EqualValues(t, 3, x.value("otelcol_logcapture_files_watched"))
	require.EqualValues(t, x.engine.opened(), x.value("otelcol_logcapture_files_open"))
	require.LessOrEqual(t, x.value("otelcol_logcapture_files_open"), int64(2))
	require.EqualValues(t, 1, x.value("otelcol_logcapture_discovery_mode"))
	require.Zero(t, x.value("otelcol_logcapture_gaps"))
	require.NoError(t, os.Remove(x.path("a.log")))
	capturetest.WaitFor(t, "the deleted file is let go", func() bool { return x.value("otelcol_logcapture_files_watched") == 2 })
	x.stop()
}

// A file that is deleted while it is closed is lost, and that is told.
func TestFileThatIsGoneBeforeItWasReadIsAGap(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 1
	release := x.refuse()
	text, _ := lines(strings.Repeat("x", 200), 1, 2000)
	x.write("a.log", text)
	x.write("b.log", text)
	x.run().settledBehindRefusal()
	require.NoError(t, os.Remove(x.path("b.log")))
	require.NoError(t, os.Remove(x.path("a.log")))
	x.settledBehindRefusal()
	release()
	capturetest.WaitFor(t, "both are let go", func() bool { return x.engine.watched() == 0 })
	x.stop() // a worker tells and counts what is lost after it has let the file go
	require.Less(t, x.consumer.Len(), 4000)
	told := x.logged.FilterMessageSnippet("gone before it was read").Len()
	require.Positive(t, told)
	require.EqualValues(t, told, x.value("otelcol_logcapture_gaps"))
}
