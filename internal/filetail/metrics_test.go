package filetail

import (
	"fmt"
	"os"
	"slices"
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

// What is compressed before it was read, while it is closed, comes from the compressed file. It is lost only where there is none.
func TestFileThatIsCompressedBeforeItWasReadIsNoGap(t *testing.T) {
	for _, read := range []bool{false, true} {
		for _, compressed := range []bool{true, false} {
			t.Run(fmt.Sprintf("begun %t, compressed %t", read, compressed), func(t *testing.T) {
				x := newTail(t)
				x.settings.Include = []string{x.path("busy-*.log"), x.path("a.log*")}
				x.settings.Compression = CompressionAuto
				x.settings.MaxOpenFiles = workers()
				x.run()
				first, want := lines("a", 1, 10)
				if read {
					x.write("a.log.1", first)
					x.want(want...)
					x.settled()
				}
				release := x.occupy()
				if !read {
					x.write("a.log.1", first)
				}
				rest, more := lines("a", 11, 20)
				x.write("a.log.1", rest)
				x.followed("a.log.1")
				x.settledBehindRefusal()
				x.unseen(func() {
					for x.engine.closeIdleLocked() { // as it is for others
						continue
					}
				})
				text, err := os.ReadFile(x.path("a.log.1"))
				require.NoError(t, err)
				info, err := os.Stat(x.path("a.log.1"))
				require.NoError(t, err)
				if compressed {
					x.write("a.log.1.gz", string(packed(t, CompressionGzip, string(text))))
					require.NoError(t, os.Chtimes(x.path("a.log.1.gz"), info.ModTime(), info.ModTime()))
				}
				require.NoError(t, os.Remove(x.path("a.log.1")))
				x.settledBehindRefusal()
				release()
				capturetest.WaitFor(t, "the file is let go", func() bool {
					x.engine.mu.Lock()
					defer x.engine.mu.Unlock()
					for _, f := range x.engine.files {
						if f.path == x.path("a.log.1") {
							return false
						}
					}
					return true
				})
				x.readOut()
				x.settled()
				var lost int64
				want = append(want, more...)
				if !compressed {
					lost = 1
					if want = want[:0]; read {
						_, want = lines("a", 1, 10)
					}
				}
				got := slices.DeleteFunc(x.consumer.Bodies(), func(body string) bool { return !strings.HasPrefix(body, "a-") })
				require.Equal(t, want, got)
				x.stop() // a worker notes what is lost after it has let the file go
				require.Equal(t, lost, x.value("otelcol_logcapture_gaps"))
			})
		}
	}
}
