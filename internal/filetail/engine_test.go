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
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
)

func TestReadsWhatIsThereAndWhatComes(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "one\n")
	x.run().want("one")
	x.write("a.log", "two\nthree\n")
	x.want("one", "two", "three")
	require.Equal(t, map[string]any{"log.file.name": "a.log"}, x.consumer.Records()[0].Log.Attributes().AsRaw())
}

func TestFileThatAppearsLaterIsReadFromItsBeginning(t *testing.T) {
	x := newTail(t)
	x.settings.StartAtEnd = true
	x.write("old.log", "skipped\n")
	x.run().settled()
	x.write("new.log", "one\ntwo\n")
	x.want("one", "two")
}

func TestExcludedFilesAreNotRead(t *testing.T) {
	x := newTail(t)
	x.settings.Exclude = []string{x.path("no*.log")}
	x.write("no.log", "excluded\n")
	x.write("yes.log", "included\n")
	x.run().settled()
	x.want("included")
}

func TestStartAtEndSkipsWhatIsThere(t *testing.T) {
	for _, tt := range []struct{ name, before, after, want string }{
		{"whole lines", "old\nold\n", "new\n", "new"},
		{"empty file", "", "new\n", "new"},
		{"a line that has begun is not torn", "old\nbeg", "un\n", "begun"},
		{"one line that has begun", "beg", "un\n", "begun"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTail(t)
			x.settings.StartAtEnd = true
			x.write("a.log", tt.before)
			x.run().settled()
			x.write("a.log", tt.after)
			x.want(tt.want)
		})
	}
}

func TestRestartGoesOnAtTheStoredPosition(t *testing.T) {
	for _, startAtEnd := range []bool{false, true} {
		t.Run(fmt.Sprintf("start at end %t", startAtEnd), func(t *testing.T) {
			x := newTail(t)
			x.write("a.log", "")
			x.settings.StartAtEnd = startAtEnd
			x.run().settled()
			var all []string
			for i := range 10 {
				text, bodies := lines("a", i*10+1, i*10+10)
				x.write("a.log", text)
				all = append(all, bodies...)
				if i%2 == 0 { // else written while down
					x.want(all...)
				}
				x.stop()
				if i%2 == 0 {
					text, bodies = lines("down", i, i)
					x.write("a.log", text)
					all = append(all, bodies...)
				}
				x.run()
			}
			x.want(all...)
			x.settled()
			x.want(all...)
		})
	}
}

func TestPartialLastLineWaitsForItsEnd(t *testing.T) {
	x := newTail(t)
	x.run()
	x.write("a.log", "one\nhel")
	x.want("one")
	x.settled()
	x.write("a.log", "lo")
	x.settled()
	x.stop()
	x.run().settled()
	x.write("a.log", "\n")
	x.want("one", "hello")
}

func TestLongPartialLineGrowsByteByByte(t *testing.T) {
	x := newTail(t)
	x.run()
	start := strings.Repeat("x", 3*longPartial)
	x.write("a.log", start)
	x.settled()
	for range 20 {
		x.write("a.log", "y")
		x.settled()
	}
	x.write("a.log", "\nnext\n")
	x.want(start+strings.Repeat("y", 20), "next")
}

func TestLongPartialLineIsTruncatedAway(t *testing.T) {
	x := newTail(t)
	x.run()
	x.write("a.log", "first\n"+strings.Repeat("x", 3*longPartial))
	x.settled()
	require.NoError(t, os.Truncate(x.path("a.log"), 0))
	x.write("a.log", "new\n")
	x.want("first", "new")
}

func TestLineLongerThanMaxIsSplit(t *testing.T) {
	x := newTail(t)
	x.settings.MaxLogSize = 100
	x.write("a.log", strings.Repeat("x", 250)+"\nshort\n")
	x.run().want(strings.Repeat("x", 100), strings.Repeat("x", 100), strings.Repeat("x", 50), "short")
	truncated, ok := x.consumer.Records()[0].Log.Attributes().Get("log.record.truncated")
	require.True(t, ok && truncated.Bool())
}

func TestLineAsLongAsManyBlocks(t *testing.T) {
	x := newTail(t)
	x.settings.MaxLogSize = 5 << 20
	long := strings.Repeat("0123456789abcdef", 4<<16)
	x.write("a.log", "before\n"+long+"\nafter\n")
	x.run().want("before", long, "after")
}

func TestInvalidUTF8IsRepaired(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "a\xffb\n")
	x.run().want("a\uFFFDb")
}

func TestRenamedOutOfThePattern(t *testing.T) {
	x := newTail(t)
	x.settings.RotateWait = 3 * time.Second // a writer that goes on is later than this test may be by chance
	x.run()
	x.write("a.log", "one\n")
	x.want("one")
	writer, err := os.OpenFile(x.path("a.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer writer.Close()
	x.rename("a.log", "a.log.1")
	x.settled()
	fmt.Fprintln(writer, "two, by a writer that goes on")
	x.want("one", "two, by a writer that goes on")
	x.write("a.log", "three, in the new file\n")
	x.want("one", "two, by a writer that goes on", "three, in the new file")
	capturetest.WaitFor(t, "the rotated file is closed", func() bool { return x.engine.watched() == 1 })
}

func TestRenamedOutOfThePatternAndBackAgain(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "one\n")
	x.run().want("one")
	x.rename("a.log", "a.bak")
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 0 })
	x.write("a.bak", "two\n")
	x.rename("a.bak", "b.log")
	x.want("one", "two")
}

func TestTailOfTheOldFileComesBeforeTheHeadOfTheNew(t *testing.T) {
	for _, pattern := range []string{"*.log", "*.log*"} {
		t.Run(pattern, func(t *testing.T) {
			x := newTail(t)
			x.settings.Include = []string{x.path(pattern)}
			x.write("a.log", "0\n")
			x.run().want("0")
			// While the consumer refuses, four generations come together.
			var open atomic.Bool
			x.consumer.Answer(func(context.Context, plog.Logs) error {
				if open.Load() {
					return nil
				}
				return errors.New("refused")
			})
			want := []string{"0"}
			for i := range 4 {
				text, bodies := lines(fmt.Sprint("gen", i), 1, 500)
				x.write("a.log", text)
				want = append(want, bodies...)
				x.settledBehindRefusal()
				for old := 3; old > 0; old-- {
					_ = os.Rename(x.path(fmt.Sprintf("a.log.%d", old)), x.path(fmt.Sprintf("a.log.%d", old+1)))
				}
				x.rename("a.log", "a.log.1")
				x.settledBehindRefusal()
			}
			x.write("a.log", "last\n")
			open.Store(true)
			x.want(append(want, "last")...)
		})
	}
}

// settledBehindRefusal waits for two looks; workers wait in their delivery meanwhile.
func (x *tail) settledBehindRefusal() {
	look := x.looks() + 2
	capturetest.WaitFor(x.t, "two looks", func() bool { return x.looks() >= look })
}

func TestTruncated(t *testing.T) {
	banner := strings.Repeat("the same banner in every file\n", 50)
	bannerLines := strings.Split(strings.TrimSuffix(banner, "\n"), "\n")
	for _, tt := range []struct{ name, after string }{
		{"to nothing, and then smaller", "new\n"},
		{"and grown past the old place", "new 1\nnew 2\nnew 3\nnew 4\nnew 5\n"},
		{"and grown past the old place by one write", strings.Repeat("new\n", 1000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newTail(t)
			x.write("a.log", banner+"old 1\nold 2\n")
			want := append(slices.Clone(bannerLines), "old 1", "old 2")
			x.run().want(want...)
			require.NoError(t, os.WriteFile(x.path("a.log"), []byte(banner+tt.after), 0o600))
			want = append(want, bannerLines...)
			x.want(append(want, strings.Split(strings.TrimSuffix(tt.after, "\n"), "\n")...)...)
		})
	}
}

func TestTruncatedWhileDown(t *testing.T) {
	for _, text := range []string{"", "new\n", "new 1\nnew 2\nnew 3\n", strings.Repeat("longer than before\n", 100)} {
		t.Run(fmt.Sprint(len(text)), func(t *testing.T) {
			x := newTail(t)
			x.settings.StartAtEnd = true // which must not skip what is new in a known file
			x.run().settled()
			x.write("a.log", "old 1\nold 2\n")
			x.want("old 1", "old 2")
			x.stop()
			require.NoError(t, os.WriteFile(x.path("a.log"), []byte(text), 0o600))
			x.run().settled()
			want := []string{"old 1", "old 2"}
			if text != "" {
				want = append(want, strings.Split(strings.TrimSuffix(text, "\n"), "\n")...)
			}
			x.want(want...)
		})
	}
}

func TestDeletedAndCreatedAgain(t *testing.T) {
	x := newTail(t)
	x.run()
	var want []string
	for i := range 30 { // a file system is free to use the inode again at once
		text, bodies := lines(fmt.Sprint("gen", i), 1, 3)
		x.write("a.log", text)
		want = append(want, bodies...)
		x.want(want...)
		require.NoError(t, os.Remove(x.path("a.log")))
		if i%3 == 0 {
			x.settled()
		}
	}
	capturetest.WaitFor(t, "deleted files are let go", func() bool { return x.engine.watched() == 0 })
}

func TestDeletedAndCreatedAgainWhileDown(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "old\n")
	x.run().want("old")
	x.stop()
	require.NoError(t, os.Remove(x.path("a.log")))
	x.write("a.log", "new 1\nnew 2\n")
	x.run().want("old", "new 1", "new 2")
}

func TestUnterminatedLineOfADeletedFileIsTakenOnce(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "one\ntwo, without end")
	x.run().want("one")
	x.settled()
	require.NoError(t, os.Remove(x.path("a.log")))
	x.want("one", "two, without end")
	capturetest.WaitFor(t, "the file is let go", func() bool { return x.engine.watched() == 0 })
	x.want("one", "two, without end")
}

func TestFilesWithTheSameBeginningAreAllRead(t *testing.T) {
	x := newTail(t)
	banner := strings.Repeat("#", 1300)
	for i := range 10 {
		x.write(fmt.Sprintf("%d.log", i), fmt.Sprintf("%s\nfile %d\n", banner, i))
	}
	x.run()
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == 20 })
	bodies := x.consumer.Bodies()
	for i := range 10 {
		require.Contains(t, bodies, fmt.Sprintf("file %d", i))
	}
}

func TestOneFileUnderSeveralPathsIsReadOnce(t *testing.T) {
	x := newTail(t)
	x.write("a.log", "one\n")
	require.NoError(t, os.Link(x.path("a.log"), x.path("b.log")))
	require.NoError(t, os.Symlink(x.path("a.log"), x.path("c.log")))
	x.run().want("one")
	x.settled()
	x.write("b.log", "two\n")
	x.settled()
	x.want("one", "two")
}

func TestRefusedLinesAreNeitherLostNorRepeated(t *testing.T) {
	x := newTail(t)
	var calls atomic.Int32
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		if calls.Add(1)%3 != 0 {
			return errors.New("refused")
		}
		return nil
	})
	text, want := lines("a", 1, 30000)
	x.write("a.log", text)
	x.run().want(want...)
}

func TestStopWhileRefusedAndStartAgain(t *testing.T) {
	x := newTail(t)
	x.consumer.Answer(func(context.Context, plog.Logs) error { return errors.New("refused") })
	text, want := lines("a", 1, 100)
	x.write("a.log", text)
	x.run().settledBehindRefusal()
	began := time.Now()
	x.stop()
	require.Less(t, time.Since(began), 5*time.Second)
	require.Zero(t, x.consumer.Len())
	x.consumer.Answer(nil)
	x.run().want(want...)
}

func TestPermanentlyRefusedBatchIsPassedOver(t *testing.T) {
	x := newTail(t)
	x.consumer.Answer(func(_ context.Context, logs plog.Logs) error {
		if logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().Str() == "bad" {
			return consumererror.NewPermanent(errors.New("cannot be read"))
		}
		return nil
	})
	x.write("a.log", "bad\n")
	x.run().settled()
	x.write("a.log", "good\n")
	x.want("good")
	x.stop()
	x.run().settled()
	x.want("good")
}

func TestManyFilesAndRestarts(t *testing.T) {
	x := newTail(t)
	const files, rounds = 200, 5
	for round := range rounds {
		x.run()
		for i := range files {
			text, _ := lines(fmt.Sprint(i), round*10+1, round*10+10)
			x.write(fmt.Sprintf("%d.log", i), text)
		}
		if round%2 == 0 { // else the next run reads what this one did not
			capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= files*10*(round+1) })
		}
		x.stop()
	}
	next := make(map[string]int)
	for _, body := range x.consumer.Bodies() {
		file, number, _ := strings.Cut(body, "-")
		next[file]++
		require.Equal(t, fmt.Sprint(next[file]), number, "file %s", file)
	}
	require.Len(t, next, files)
}
