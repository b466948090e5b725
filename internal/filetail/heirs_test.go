package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// A file has left texts to two others, and when the collector ends only the first of them has delivered its text.
func TestTextThatOneOfTwoHeirsHasDeliveredComesOnce(t *testing.T) {
	for _, stream := range []string{"stdout", "stderr"} {
		for _, file := range []string{"followed", "let go", "deleted"} {
			t.Run(fmt.Sprintf("late text of %s, the file is %s", stream, file), func(t *testing.T) {
				if workers() < 2 {
					t.Skip("the older file is read while the newer one is delivered")
				}
				x := newTail(t)
				x.settings.Include = []string{x.path("a.log.*")}
				x.settings.Text.Format = lineformat.CRI
				x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
				var first, second atomic.Bool
				x.consumer.Answer(func(_ context.Context, logs plog.Logs) error {
					switch logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().Str() {
					case "one":
						return nil
					case "begins, ends":
						if first.Load() {
							return nil
						}
					case "late, over":
						second.Store(true)
					}
					return errors.New("refused")
				})
				x.write("a.log.1", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
				x.run().want("one")
				x.readOut()
				x.rename("a.log.1", "a.log.3") // no file is a.log: of a log that is looked beside the text would be stored before it is read
				x.settled()
				x.write("tmp", cri("stdout", "F", "ends"))
				x.rename("tmp", "a.log.2")
				x.settledBehindRefusal()
				x.write("a.log.3", cri(stream, "P", "late, "))
				x.readOutOf("a.log.3")
				x.write("tmp", cri(stream, "F", "over"))
				x.rename("tmp", "a.log.1")
				x.leaves("a.log.3", 2)
				switch file {
				case "let go":
					x.rename("a.log.3", "aside")
					x.letGo()
				case "deleted":
					require.NoError(t, os.Remove(x.path("a.log.3")))
					x.letGo()
				}
				first.Store(true)
				x.want("one", "begins, ends")
				capturetest.WaitFor(t, "the second heir is delivered", second.Load)
				x.stop()
				x.consumer.Answer(nil)
				x.run().want("one", "begins, ends", "late, over")
				x.write("a.log.1", cri("stdout", "F", "last"))
				x.wantMarked("one", "begins, ends", "late, over", "last")
				require.Zero(t, x.value("otelcol_logcapture_gaps"))
			})
		}
	}
}

// leaves waits until what is open of a file is in so many others, and stored with none of them.
func (x *tail) leaves(name string, heirs int) {
	x.t.Helper()
	capturetest.WaitFor(x.t, "what is open is handed over", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		for _, f := range x.engine.files {
			if f.path == x.path(name) && !f.reading && !f.queued && len(f.heirs) == heirs {
				return true
			}
		}
		return false
	})
}

// letGo waits until the files to which no path leads are not followed any more. It does not take the time that writers are given to leave them.
func (x *tail) letGo() {
	x.t.Helper()
	long := time.Now().Add(-time.Hour)
	capturetest.WaitFor(x.t, "a file is let go", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		for _, f := range x.engine.files {
			if !f.detached.IsZero() && !f.reading {
				f.detached, f.grew = long, long
			}
		}
		return len(x.engine.files) == 2
	})
}
