package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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
		for _, file := range []string{"followed", "let go", "deleted", "deleted, and might come back compressed"} {
			t.Run(fmt.Sprintf("late text of %s, the file is %s", stream, file), func(t *testing.T) {
				if workers() < 2 {
					t.Skip("the older file is read while the newer one is delivered")
				}
				x := newTail(t)
				x.settings.Include = []string{x.path("a.log.*")}
				if strings.Contains(file, "compressed") {
					x.settings.Compression = CompressionAuto
				}
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
				case "deleted", "deleted, and might come back compressed":
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

// A file has left text to the next one, that is not stored with it yet when the collector ends, and is deleted before the next start.
func TestTextThatWasLeftByAFileThatIsDeletedWhileDown(t *testing.T) {
	type test struct {
		heir string // what becomes of the next file
		id   string // of the file that gets the id of the deleted one
		left bool   // the text is in the position of the deleted file, and not only where it is in that
		want string
		gaps int64
	}
	for _, tt := range []test{
		{heir: "is there", left: true, want: "begins, ends"},
		{heir: "is there", id: "other", left: true, want: "begins, ends"},
		{heir: "is there", id: "b.log", left: true, want: "begins, ends"},
		{heir: "is deleted", left: true, want: "begins, …"},
		{heir: "is there", want: "ends", gaps: 1},
	} {
		for _, kind := range []string{CompressionNone, CompressionAuto} {
			t.Run(fmt.Sprintf("the next one %s, id for %q, text is left %t, compression %q", tt.heir, tt.id, tt.left, kind), func(t *testing.T) {
				x := newTail(t)
				x.settings.Include = []string{x.path("a.log.*"), x.path("b.log")}
				x.settings.Compression = kind
				x.settings.Text.Format = lineformat.CRI
				x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
				x.write("a.log.1", cri("stdout", "F", "one")+cri("stdout", "P", "begins, "))
				x.run().want("one")
				x.readOut()
				x.rename("a.log.1", "a.log.2") // no file is a.log: of a log that is looked beside the text would be stored before it is read
				x.settled()
				x.refuse()
				x.write("tmp", cri("stdout", "F", "ends"))
				x.rename("tmp", "a.log.1")
				x.settledBehindRefusal()
				x.leaves("a.log.2", 1)
				if tt.left {
					x.rename("a.log.2", "aside") // which is looked at again and again
					capturetest.WaitFor(t, "the text is stored", func() bool { return x.stores("aside", "begins, ") })
				}
				x.stop()
				name := "a.log.2"
				if tt.left {
					name = "aside"
				}
				before, err := os.Stat(x.path(name))
				require.NoError(t, err)
				require.NoError(t, os.Remove(x.path(name)))
				if tt.heir == "is deleted" {
					require.NoError(t, os.Remove(x.path("a.log.1")))
					x.settings.Text.FlushPeriod = 50 * time.Millisecond
					x.settings.RotateWait = time.Second
				}
				if tt.id != "" {
					x.write(tt.id, "")
					after, err := os.Stat(x.path(tt.id))
					require.NoError(t, err)
					if !os.SameFile(before, after) {
						t.Skip("this file system does not give an inode again at once")
					}
				}
				x.consumer.Answer(nil)
				x.run().wantMarked("one", tt.want)
				x.settled()
				require.Equal(t, tt.gaps, x.value("otelcol_logcapture_gaps"))
				x.stop()
				x.run().settled()
				x.wantMarked("one", tt.want)
				require.Zero(t, x.value("otelcol_logcapture_gaps"))
			})
		}
	}
}

// stores says that the position of a file was stored with a text.
func (x *tail) stores(name, text string) bool {
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	for _, f := range x.engine.files {
		if f.path == x.path(name) || f.known.at == x.path(name) {
			return !f.reading && strings.Contains(f.known.open, text)
		}
	}
	return false
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

// The collector ended when it had found the copy of a log that was truncated, and before what is open there had gone on. Then the log is copied
// again.
func TestEventGoesOnInASecondCopyBehindAStoredOne(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		t.Run(fmt.Sprint("compressed ", compressed), func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path("a.log*")}
			x.settings.Compression = CompressionAuto
			x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
			x.settings.Text.Multiline = multiline(t, `^\d\w? `, true, false)
			x.write("a.log", "1 first\n2 begins\n")
			x.run().want("1 first")
			x.readOut()
			content, err := os.ReadFile(x.path("a.log"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(x.path("a.log.1"), content, 0o600))
			info, err := os.Stat(x.path("a.log.1"))
			require.NoError(t, err)
			x.engine.mu.Lock()
			p := x.engine.logs[x.path("a.log")].place
			p.id, err = idOfPath(x.path("a.log.1"), info)
			p.at, p.born = x.path("a.log.1"), bornAt(x.path("a.log.1"), p.id)
			x.engine.Store.Put(p.id.key(), p.encode())
			x.engine.mu.Unlock()
			require.NoError(t, err)
			x.stop()
			require.NoError(t, os.Truncate(x.path("a.log"), 0))
			x.write("a.log", "  more\n2b whole\n2c begins\n")
			x.copyTruncate()
			if compressed {
				x.compressedAway("a.log.2", func(string) {})
			}
			x.write("a.log", "  goes on\n3 next\n")
			want := []string{"1 first", "2 begins\n  more", "2b whole", "2c begins\n  goes on"}
			x.run().want(want...)
			x.settled()
			x.want(want...)
			require.Zero(t, x.value("otelcol_logcapture_gaps"))
		})
	}
}
