package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// copiesTail is an engine over a.log and its copies, in which the rest of a record is waited for as long as the test takes.
func copiesTail(t *testing.T) *tail {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.settings.Compression = CompressionAuto
	x.settings.Text.Multiline = multiline(t, `^\d\w? `, true, false)
	return x
}

// rotate copies and truncates a.log, and compresses the copy where that is asked for.
func (x *tail) rotate(compressed bool) {
	x.t.Helper()
	x.copyTruncate()
	if compressed {
		x.compress("a.log.1")
	}
}

// unseen does something before anything of it can be seen.
func (x *tail) unseen(do func()) {
	x.engine.mu.Lock() // holds discovery and the workers up
	defer x.engine.mu.Unlock()
	do()
}

// The copy of a log is read, with a record at its end that was never seen in the log. The collector ends before the next copy, in which that record
// goes on, is delivered; then the log is copied once more.
func TestEventThatBeginsInACopyGoesOnInTheNextOneBehindAStop(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("compressed %t, copied again %t", compressed, again), func(t *testing.T) {
				x := copiesTail(t)
				x.write("a.log", "1 first\n2 begins\n")
				x.run().want("1 first")
				x.readOut()
				var refused atomic.Bool
				x.consumer.Answer(func(_ context.Context, logs plog.Logs) error {
					if strings.HasPrefix(logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().Str(), "2 ") {
						return nil
					}
					refused.Store(true)
					return errors.New("refused")
				})
				x.unseen(func() {
					x.write("a.log", "  more\n3 begins\n")
					x.rotate(compressed)
					x.write("a.log", "  ends 3\n4 begins\n")
					x.rotate(compressed)
				})
				capturetest.WaitFor(t, "the second copy is read", refused.Load)
				x.stop()
				x.consumer.Answer(nil)
				want := []string{"1 first", "2 begins\n  more", "3 begins\n  ends 3"}
				x.want(want[:2]...)
				x.write("a.log", "  ends 4\n5 begins\n")
				want = append(want, "4 begins\n  ends 4")
				if again {
					x.rotate(compressed)
					x.write("a.log", "  ends 5\n6 next\n")
					want = append(want, "5 begins\n  ends 5")
				}
				x.run().want(want...)
				x.settled()
				x.want(want...)
				require.Zero(t, x.value("otelcol_logcapture_gaps"))
			})
		}
	}
}

// A log is truncated without a copy, then written, copied and truncated before anybody looks: the record goes on in the copy.
func TestEventGoesOnInACopyOfWhatCameBehindATruncation(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, pattern := range []string{"a.log", "a.log*"} {
			t.Run(fmt.Sprintf("compressed %t, %s", compressed, pattern), func(t *testing.T) {
				x := copiesTail(t)
				x.settings.Include = []string{x.path(pattern)}
				x.write("a.log", "1 first\n2 begins\n")
				x.run().want("1 first")
				x.readOut()
				x.unseen(func() {
					require.NoError(t, os.Truncate(x.path("a.log"), 0))
					x.write("a.log", "  ends\n3 begins\n")
					x.rotate(compressed)
				})
				x.want("1 first", "2 begins\n  ends")
				x.write("a.log", "  ends\n4 next\n")
				x.want("1 first", "2 begins\n  ends", "3 begins\n  ends")
				x.settled()
				require.Zero(t, x.value("otelcol_logcapture_gaps"))
			})
		}
	}
}

// The compressed copy of a log is read before the log is found truncated, and both before the next copy.
func TestEventGoesOnInACompressedCopyBeforeItsLogIsFoundTruncated(t *testing.T) {
	x := copiesTail(t)
	x.settings.Include = append(x.settings.Include, x.path("busy-*.log"))
	x.write("a.log", "1 first\n2 begins\n")
	x.run().want("1 first")
	x.readOut()
	release := x.occupy()
	x.unseen(func() {
		x.write("a.log", "  more\n3 begins\n")
		x.rotate(true)
		x.write("a.log", "  ends 3\n4 begins\n")
		x.rotate(true)
	})
	x.settledBehindRefusal()
	x.unseen(func() { // as if it had been read when it was touched
		queue := &x.engine.queue
		queue.files = slices.DeleteFunc(queue.files, func(f *file) bool {
			f.queued = f.queued && f.path != x.path("a.log")
			return !f.queued
		})
	})
	release()
	x.settled()
	x.write("a.log", "  ends 4\n5 next\n")
	var got []string
	capturetest.WaitFor(t, "all events of the log", func() bool {
		got = slices.DeleteFunc(x.consumer.Bodies(), func(body string) bool { return strings.HasPrefix(body, "x") })
		return len(got) >= 4
	})
	require.Equal(t, []string{"1 first", "2 begins\n  more", "3 begins\n  ends 3", "4 begins\n  ends 4"}, got)
}

// A copy is seen when it is made and empty still, and the log is empty since it was copied and truncated before.
func TestEventGoesOnInACopyThatBeginsEmpty(t *testing.T) {
	x := copiesTail(t)
	x.write("a.log", "1 first\n2 begins\n")
	x.run().want("1 first")
	x.readOut()
	x.copyTruncate()
	x.settled()
	x.rename("a.log.1", "a.log.2")
	x.write("a.log.1", "")
	x.followed("a.log.1")
	x.settled()
	x.write("a.log.1", "  goes on\n3 begins\n")
	x.want("1 first", "2 begins\n  goes on")
	x.write("a.log", "  ends\n4 next\n")
	x.want("1 first", "2 begins\n  goes on", "3 begins\n  ends")
}

// What was open in a log was ended in its copy, and nothing is written to the log before the collector is started again.
func TestTextThatWasEndedInACopyComesOnce(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprint("compressed ", compressed), func(t *testing.T) {
			x := criTail(t)
			x.settings.RotateWait = time.Minute
			x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
			x.run().want("one")
			x.readOut()
			x.copyTruncate()
			x.settled()
			x.write("a.log", cri("stdout", "P", "goes on, "))
			x.readOut()
			x.stop()
			x.write("a.log", cri("stdout", "F", "ends"))
			x.rotate(compressed)
			x.run().want("one", "begins, goes on, ends")
			x.settled()
			x.stop()
			x.run().settled()
			x.write("a.log", cri("stdout", "F", "two"))
			x.wantMarked("one", "begins, goes on, ends", "two")
			require.Zero(t, x.value("otelcol_logcapture_gaps"))
		})
	}
}

// What was open in a log was ended in its copy, which no pattern matches and which is old when the collector is started again: nothing follows it then.
// Nothing is written to the log before that.
func TestTextThatWasEndedInACopyThatIsOldComesOnce(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, down := range []bool{false, true} {
			for _, earlier := range []bool{false, true} {
				t.Run(fmt.Sprintf("compressed %t, copied while down %t, truncated before %t", compressed, down, earlier), func(t *testing.T) {
					x := criTail(t)
					x.settings.Include = []string{x.path("a.log")}
					x.settings.RotateWait = time.Minute
					x.write("a.log", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
					x.run().want("one")
					x.readOut()
					want := []string{"one", "begins, ends", "two"}
					if earlier {
						x.copyTruncate()
						x.settled()
						x.write("a.log", cri("stdout", "P", "goes on, "))
						x.readOut()
						want[1] = "begins, goes on, ends"
					}
					rotate := func() {
						x.write("a.log", cri("stdout", "F", "ends"))
						x.rotate(compressed)
					}
					if down {
						x.stop()
						rotate()
						x.run()
					} else {
						x.unseen(rotate)
					}
					x.want(want[:2]...)
					x.settled()
					x.stop()
					old := time.Now().Add(-time.Hour)
					for _, name := range []string{"a.log.1", "a.log.1.gz", "a.log.2"} {
						require.NoError(t, ignoreMissing(os.Chtimes(x.path(name), old, old)))
					}
					x.run().settled()
					x.write("a.log", cri("stdout", "F", "two"))
					x.wantMarked(want...)
					require.Zero(t, x.value("otelcol_logcapture_gaps"))
				})
			}
		}
	}
}
