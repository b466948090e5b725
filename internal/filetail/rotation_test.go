package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// generation writes the numbered lines to a file and adds them to what is wanted.
func (x *tail) generation(want *[]string, name string, first, last int) {
	x.t.Helper()
	text, bodies := lines("l", first, last)
	x.write(name, text)
	*want = append(*want, bodies...)
}

func TestRenamedChainWhileDown(t *testing.T) {
	for _, pattern := range []string{"a.log", "a.log*"} {
		t.Run(pattern, func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path(pattern)}
			var want []string
			x.generation(&want, "a.log", 1, 100)
			x.run().want(want...)
			x.stop()
			x.generation(&want, "a.log", 101, 200) // three generations are unread
			x.rename("a.log", "a.log.1")
			x.generation(&want, "a.log", 201, 300)
			x.rename("a.log.1", "a.log.2")
			x.rename("a.log", "a.log.1")
			x.generation(&want, "a.log", 301, 400)
			x.run().want(want...)
			capturetest.WaitFor(t, "what is rotated out of the pattern is let go", func() bool {
				return pattern != "a.log" || x.engine.watched() == 1
			})
			x.stop()
			x.run().settled()
			x.want(want...)
		})
	}
}

// A log is rotated twice before discovery has a look, and then there is none; later one comes and goes the same way. The lock holds discovery up.
func TestLastGenerationThatComesAndGoesUnseen(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprint("polling ", polling), func(t *testing.T) {
			x := byEvents(t, "a.log")
			x.settings.Polling, x.settings.RotateWait = polling, time.Minute
			var want []string
			x.generation(&want, "a.log", 1, 100)
			x.run().want(want...)
			x.engine.mu.Lock()
			x.rename("a.log", "a.log.3")
			x.generation(&want, "a.log", 101, 200)
			x.rename("a.log", "a.log.2")
			x.engine.mu.Unlock()
			x.want(want...)
			if !polling { // else nothing tells that one was there, before the next one comes
				x.engine.mu.Lock()
				x.generation(&want, "a.log", 201, 300)
				x.rename("a.log", "a.log.1")
				x.engine.mu.Unlock()
				x.want(want...)
			}
			x.generation(&want, "a.log", 301, 400)
			x.want(want...)
		})
	}
}

func TestWriterGoesOnInTheRenamedFile(t *testing.T) {
	for name, when := range map[string]time.Duration{"new file at once": 0, "new file later": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			x := byEvents(t, "a.log")
			x.settings.RotateWait = time.Minute
			var want []string
			x.generation(&want, "a.log", 1, 100)
			x.run().want(want...)
			old, err := os.OpenFile(x.path("a.log"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			defer old.Close()
			x.rename("a.log", "a.log.1")
			if when == 0 {
				x.generation(&want, "a.log", 301, 400)
			}
			for i := 101; i <= 300; i++ { // for as long as a writer may need to open the new file
				fmt.Fprintf(old, "l-%d\n", i)
				want = append(want, fmt.Sprintf("l-%d", i))
				if i%10 == 0 {
					time.Sleep(30 * time.Millisecond)
				}
			}
			if when != 0 {
				x.generation(&want, "a.log", 301, 400)
			}
			capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= len(want) })
			require.ElementsMatch(t, want, x.consumer.Bodies())
		})
	}
}

func TestManyRotationsInThePatternAndOutOfIt(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		keep          int
		mode          func(t *testing.T, include ...string) *tail
	}{
		{"in the pattern", "a.log*", 4, byEvents},
		{"out of the pattern", "a.log", 4, byEvents},
		{"out of the pattern and deleted", "a.log", 1, byEvents},
		{"polled, nothing deleted", "a.log*", 100, func(t *testing.T, include ...string) *tail {
			x := byEvents(t, include...)
			x.settings.Polling, x.settings.PollInterval = true, 2*time.Millisecond
			return x
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := tt.mode(t, tt.pattern)
			x.run().looked()
			var want []string
			for rotation := range 40 {
				for part := range 5 {
					from := rotation*250 + part*50
					x.generation(&want, "a.log", from+1, from+50)
					time.Sleep(5 * time.Millisecond)
				}
				oldest := fmt.Sprintf("a.log.%d", tt.keep)
				x.followed(oldest)
				require.NoError(t, ignoreMissing(os.Remove(x.path(oldest))))
				for old := tt.keep - 1; old > 0; old-- {
					require.NoError(t, ignoreMissing(os.Rename(x.path(fmt.Sprintf("a.log.%d", old)), x.path(fmt.Sprintf("a.log.%d", old+1)))))
				}
				x.rename("a.log", "a.log.1")
			}
			capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= len(want) })
			require.True(t, slices.Equal(want, x.consumer.Bodies()), "all lines, in order")
		})
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func TestRenamedWithTheSameLongBanner(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("a.log*")}
	banner := strings.Repeat("the banner of the program\n", 60)
	x.write("a.log", banner+"old 1\nold 2\n")
	x.run()
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == 62 })
	x.rename("a.log", "a.log.1")
	x.write("a.log", banner+"new 1\n")
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == 123 })
	require.Equal(t, "new 1", x.consumer.Bodies()[122])
}

func TestEqualShortFilesThatDivergeLater(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "the same\n")
	x.write("b.log", "the same\n")
	x.run()
	capturetest.WaitFor(t, "both", func() bool { return x.consumer.Len() == 2 })
	x.write("a.log", "a\n")
	x.write("b.log", "b\n")
	capturetest.WaitFor(t, "both", func() bool { return x.consumer.Len() == 4 })
	require.ElementsMatch(t, []string{"the same", "the same", "a", "b"}, x.consumer.Bodies())
}

func TestDeletedWhileMostOfItIsUnread(t *testing.T) {
	x := newTail(t)
	var open atomic.Bool
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		if open.Load() {
			return nil
		}
		return errors.New("refused")
	})
	text, want := lines(strings.Repeat("x", 200), 1, 50_000)
	x.write("a.log", text)
	x.run().settledBehindRefusal()
	require.NoError(t, os.Remove(x.path("a.log")))
	open.Store(true)
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == len(want) })
	require.True(t, slices.Equal(want, x.consumer.Bodies()))
	capturetest.WaitFor(t, "the file is closed", func() bool { return openUnder(t, x.dir) == 0 })
}

func TestDeletedAndCreatedUnderTheSameInodeWhileClosed(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "banner\n")
	x.run().want("banner")
	x.stop()
	info, err := os.Stat(x.path("a.log"))
	require.NoError(t, err)
	for range 100 { // until the file system uses the inode again
		require.NoError(t, os.Remove(x.path("a.log")))
		x.write("a.log", "banner\nnew\n")
		if again, err := os.Stat(x.path("a.log")); err == nil && os.SameFile(info, again) {
			break
		}
	}
	x.run().want("banner", "banner", "new")
}

func TestCopiedAndTruncated(t *testing.T) {
	for _, pattern := range []string{"a.log*", "a.log"} {
		for _, when := range []string{"live", "while refused", "while down"} {
			t.Run(pattern+" "+when, func(t *testing.T) {
				x := newTail(t)
				x.settings.Include = []string{x.path(pattern)}
				x.settings.RotateWait = time.Minute // a copy is never taken for a file of its own because this test was slow
				var refused atomic.Bool
				x.consumer.Answer(func(context.Context, plog.Logs) error {
					if refused.Load() {
						return errors.New("refused")
					}
					return nil
				})
				var want []string
				x.generation(&want, "a.log", 1, 2000)
				x.run().want(want...)
				next := 2001
				for range 5 {
					switch when {
					case "while refused":
						refused.Store(true)
					case "while down":
						x.stop()
					}
					x.generation(&want, "a.log", next, next+999)
					x.copyTruncate()
					refused.Store(false)
					if when == "while down" {
						x.run()
					}
					x.generation(&want, "a.log", next+1000, next+1099)
					next += 1100
					capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= len(want) })
				}
				x.readOut()
				require.True(t, slices.Equal(want, x.consumer.Bodies()), "%d of %d", x.consumer.Len(), len(want))
			})
		}
	}
}

// copyTruncate rotates a.log as logrotate's copytruncate does.
func (x *tail) copyTruncate() {
	x.t.Helper()
	for old := 5; old > 0; old-- {
		for _, ext := range []string{"", ".gz"} {
			err := os.Rename(x.path(fmt.Sprintf("a.log.%d%s", old, ext)), x.path(fmt.Sprintf("a.log.%d%s", old+1, ext)))
			require.NoError(x.t, ignoreMissing(err))
		}
	}
	content, err := os.ReadFile(x.path("a.log"))
	require.NoError(x.t, err)
	require.NoError(x.t, os.WriteFile(x.path("a.log.1"), content, 0o600))
	require.NoError(x.t, os.Truncate(x.path("a.log"), 0))
}

// compress compresses a file as gzip does.
func (x *tail) compress(name string) {
	x.t.Helper()
	text, err := os.ReadFile(x.path(name))
	require.NoError(x.t, err)
	require.NoError(x.t, os.WriteFile(x.path(name+".gz"), packed(x.t, CompressionGzip, string(text)), 0o600))
	require.NoError(x.t, os.Remove(x.path(name)))
}

func TestPlainCopyIsAFileOfItsOwn(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("*.log*")}
	var want []string
	x.generation(&want, "a.log", 1, 10)
	x.run().want(want...)
	content, err := os.ReadFile(x.path("a.log"))
	require.NoError(t, err)
	x.write("b.log", string(content)) // not named like a generation of a.log
	x.want(append(want, want...)...)
	x.write("a.log.1", string(content)) // like one: it is waited for the truncation of a.log first
	x.want(append(append(want, want...), want...)...)
}

func TestLogrotate(t *testing.T) {
	logrotate, err := exec.LookPath("logrotate")
	if err != nil {
		logrotate = "/usr/sbin/logrotate" // which is not in the path of every user
		if _, err := os.Stat(logrotate); err != nil {
			t.Skip("no logrotate")
		}
	}
	for _, tt := range []struct{ name, include, options string }{
		{"create", "a.log", "create\nrotate 3"},
		{"create in the pattern", "a.log*", "create\nrotate 30"},
		{"date", "a.log*", "create\nrotate 30\ndateext\ndateformat -%Y%m%d-%s"},
		{"copytruncate", "a.log", "copytruncate\nrotate 30"},
		{"copytruncate in the pattern", "a.log*", "copytruncate\nrotate 30"},
		{"compress", "a.log", "create\nrotate 30\ncompress"},
		{"compress in the pattern", "a.log*", "create\nrotate 30\ncompress"},
		{"delaycompress in the pattern", "a.log*", "create\nrotate 30\ncompress\ndelaycompress"},
		{"copytruncate and compress in the pattern", "a.log*", "copytruncate\nrotate 30\ncompress"},
		{"zstd", "a.log*", "create\nrotate 30\ncompress\ncompresscmd /usr/bin/zstd\nuncompresscmd /usr/bin/unzstd\ncompressext .zst\ncompressoptions --rm -q"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat("/usr/bin/zstd"); tt.name == "zstd" && err != nil {
				t.Skip("no zstd")
			}
			x := newTail(t)
			x.settings.Include = []string{x.path(tt.include)}
			x.settings.Compression = CompressionAuto
			x.settings.RotateWait = time.Minute // logrotate may be slow
			config := filepath.Join(t.TempDir(), "logrotate.conf")
			require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf("su root root\n%s {\n%s\n}\n", x.path("a.log"), tt.options)), 0o600))
			var want []string
			next := 1
			write := func(n int) {
				x.generation(&want, "a.log", next, next+n-1)
				next += n
			}
			write(200)
			x.run().want(want...)
			for round := range 8 {
				write(100)
				if round%4 == 1 {
					x.stop()
					write(100)
				}
				out, err := exec.Command(logrotate, "-f", "-s", config+".state", config).CombinedOutput()
				require.NoError(t, err, "%s", out)
				write(50)
				if round%4 == 1 {
					x.run()
				}
				capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= len(want) })
				if strings.Contains(tt.options, "%s") {
					time.Sleep(time.Second) // its names are by the second
				}
			}
			x.readOut()
			require.True(t, slices.Equal(want, x.consumer.Bodies()), "%d of %d", x.consumer.Len(), len(want))
			x.stop()
			x.run().readOut()
			require.Len(t, x.consumer.Bodies(), len(want))
		})
	}
}

// A copy that was truncated away and pushed on by the next rotation is still the copy of what was read.
func TestCopiedTruncatedAndRenamedWhileDown(t *testing.T) {
	for _, pattern := range []string{"a.log*", "a.log"} {
		t.Run(pattern, func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path(pattern)}
			var want []string
			x.generation(&want, "a.log", 1, 100)
			x.run().want(want...)
			x.stop()
			x.generation(&want, "a.log", 101, 200)
			x.copyTruncate()
			x.generation(&want, "a.log", 201, 300)
			x.rename("a.log.1", "a.log.2")
			x.rename("a.log", "a.log.1")
			x.generation(&want, "a.log", 301, 400)
			x.run().want(want...)
			x.settled()
			x.want(want...)
		})
	}
}

// What was written to a log since it was truncated is copied and truncated away before anybody has read it, to where no pattern looks.
func TestLogThatIsCopiedAndTruncatedAgainBeforeItWasRead(t *testing.T) {
	for _, pattern := range []string{"a.log", "a.log*"} {
		t.Run(pattern, func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path(pattern)}
			x.settings.RotateWait = time.Minute
			x.write("a.log", "1\n2\n")
			x.run().want("1", "2")
			x.readOut()
			x.copyTruncate()
			capturetest.WaitFor(t, "the truncation is seen", func() bool {
				x.engine.mu.Lock()
				defer x.engine.mu.Unlock()
				f := x.engine.logs[x.path("a.log")]
				return f.past.offset > 0 && f.known.offset == 0 && !f.held && !f.cut && !f.reading
			})
			x.engine.mu.Lock() // holds all up
			x.write("a.log", "3\n")
			x.copyTruncate()
			x.write("a.log", "4\n")
			x.engine.mu.Unlock()
			x.want("1", "2", "3", "4")
			require.Zero(t, x.value("otelcol_logcapture_gaps"))
		})
	}
}
