//go:build linux

package filetail

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// A file that is made where another was deleted often gets its inode at once. While few files can be open it is opened for each turn,
// and each time it is the same new file.
func TestFileWithTheIDOfADeletedOneIsReadOnce(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 2
	inode := func() uint64 {
		info, err := os.Stat(x.path("a.log"))
		require.NoError(t, err)
		return info.Sys().(*syscall.Stat_t).Ino
	}
	var want []string
	add := func(file, line string) {
		x.write(file, line+"\n")
		want = append(want, line)
	}
	x.run()
	for i := range 4 { // so that more files are there than can be open
		add(fmt.Sprintf("other-%d.log", i), "other")
		x.want(want...)
	}
	reused := 0
	for round := range 20 {
		add("a.log", fmt.Sprintf("the %d. file", round))
		x.want(want...)
		for i := range 5 {
			add("a.log", fmt.Sprintf("line %d", i))
			x.want(want...)
		}
		before := inode()
		require.NoError(t, os.Remove(x.path("a.log")))
		x.write("a.log", "")
		if inode() == before {
			reused++
		}
	}
	x.settled()
	x.want(want...)
	if reused == 0 {
		t.Skip("this file system does not give an inode again")
	}
}

// The new file under the id of an old one may have another name: its lines carry that.
func TestFileWithTheIDOfADeletedOneHasItsOwnName(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 1
	x.write("other.log", "other\n")
	x.run().want("other")
	for round := range 30 {
		old, fresh := fmt.Sprintf("old-%d.log", round), fmt.Sprintf("new-%d.log", round)
		x.write(old, old+"\n")
		x.write("other.log", "other\n") // takes the only handle
		capturetest.WaitFor(t, "the lines of the round", func() bool { return x.consumer.Len() >= 3*round+3 })
		require.NoError(t, os.Remove(x.path(old)))
		x.write(fresh, fresh+"\n")
		capturetest.WaitFor(t, "the line of the new file", func() bool { return x.consumer.Len() >= 3*round+4 })
		require.NoError(t, os.Remove(x.path(fresh)))
	}
	for _, r := range x.consumer.Records() {
		name, _ := r.Log.Attributes().Get("log.file.name")
		if r.Body != "other" {
			require.Equal(t, r.Body, name.Str())
		}
	}
}

// What was not read of a file that is deleted while it is closed is lost. That is told, though its id is in use again.
func TestFileThatLosesItsIDBeforeItWasReadIsAGap(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 1
	x.write("old.log", "read\n")
	x.run().want("read")
	x.settled()

	// All workers are busy, so that more of the file is known and not read.
	release := x.occupy()
	x.write("old.log", "never read\n")
	x.settledBehindRefusal()
	before, err := os.Stat(x.path("old.log"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(x.path("old.log")))
	x.write("new.log", "new\n")
	after, err := os.Stat(x.path("new.log"))
	require.NoError(t, err)
	if !os.SameFile(before, after) {
		t.Skip("this file system does not give an inode again at once")
	}
	release()
	capturetest.WaitFor(t, "the new file", func() bool { return slices.Contains(x.consumer.Bodies(), "new") })
	x.settled()
	x.stop() // a worker tells and counts what is lost after it has let the file go
	require.NotContains(t, x.consumer.Bodies(), "never read")
	require.EqualValues(t, 1, x.value("otelcol_logcapture_gaps"))
	require.Equal(t, 1, x.logged.FilterMessageSnippet("gone before it was read").Len())
}

// A log is copied to where the id of another file is used again, what is open of which is just being delivered, and truncated: what was open in the
// log goes on in the copy, though that can be found only when the other file is let go.
func TestEventGoesOnInACopyWithTheIDOfADeletedFile(t *testing.T) {
	for _, deleted := range []string{"a.log.5", "b.log", "aside/b.log"} {
		for _, pattern := range []string{"a.log*", "a.log"} {
			if deleted != "a.log.5" || pattern == "a.log*" {
				t.Run(deleted+", copied as "+pattern, func(t *testing.T) { testCopyWithTheIDOf(t, deleted, pattern) })
			}
		}
	}
}

func testCopyWithTheIDOf(t *testing.T, deleted, pattern string) {
	x := newTail(t)
	x.settings.Include = []string{x.path(pattern), x.path(deleted), x.path("c.log")}
	require.NoError(t, os.Mkdir(x.path("aside"), 0o700))
	x.settings.MaxOpenFiles = 2
	x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
	x.settings.Text.Multiline = multiline(t, `^\d\w? `, true, false)
	const text = "1 first\n2 begins\n"
	x.write(deleted, "0 oldest\n")
	x.run().readOut()
	x.write("a.log", text)
	x.want("1 first")
	x.write("c.log", "0 takes the handle of the oldest\n")
	x.readOut()
	inside, release := x.hold()
	before, err := os.Stat(x.path(deleted))
	require.NoError(t, err)
	require.NoError(t, os.Remove(x.path(deleted)))
	x.write("a.log.1", text+"  more\n2b whole\n2c begins\n")
	after, err := os.Stat(x.path("a.log.1"))
	require.NoError(t, err)
	if !os.SameFile(before, after) {
		t.Skip("this file system does not give an inode again at once")
	}
	if deleted != "aside/b.log" || pattern == "a.log*" { // else nobody sees the copy before there is a reason to look for it
		capturetest.WaitFor(t, "what is open of the older file is delivered", func() bool { return inside.Load() > 0 })
	}
	require.NoError(t, os.Truncate(x.path("a.log"), 0))
	capturetest.WaitFor(t, "the truncation is seen", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		f := x.engine.logs[x.path("a.log")]
		return (f.past.offset > 0 || runtime.GOMAXPROCS(0) == 1) && !f.held && !f.reading && !f.queued
	})
	release()
	x.write("a.log", "  goes on\n3 next\n")
	want := []string{"1 first", "0 oldest", "2 begins\n  more", "2b whole", "2c begins\n  goes on"}
	x.want(want...)
	x.settled()
	x.want(want...)
	require.Zero(t, x.value("otelcol_logcapture_gaps"))
}

// A generation that comes and goes unseen has the id of one that was read to its end, let go and deleted.
func TestMissedGenerationWithTheIDOfADeletedFile(t *testing.T) {
	x := byEvents(t, "a.log")
	var want []string
	x.generation(&want, "a.log", 1, 100)
	x.run().want(want...)
	x.rename("a.log", "a.log.1")
	capturetest.WaitFor(t, "the first one is let go", func() bool { return x.engine.watched() == 0 })
	x.generation(&want, "a.log", 101, 200)
	x.want(want...)
	before, err := os.Stat(x.path("a.log.1"))
	require.NoError(t, err)
	x.engine.mu.Lock() // holds discovery up
	require.NoError(t, os.Remove(x.path("a.log.1")))
	x.rename("a.log", "a.log.2")
	x.generation(&want, "a.log", 201, 300)
	after, err := os.Stat(x.path("a.log"))
	x.rename("a.log", "a.log.1")
	x.generation(&want, "a.log", 301, 400)
	x.engine.mu.Unlock()
	require.NoError(t, err)
	if !os.SameFile(before, after) {
		t.Skip("this file system does not give an inode again at once")
	}
	x.want(want...)
}

// The same, where what is open of the deleted one has to be delivered first.
func TestMissedGenerationWithTheIDOfADeletedFileThatHasOpenText(t *testing.T) {
	for _, deleted := range []string{"b.log", "aside/b.log"} {
		t.Run(deleted, func(t *testing.T) {
			x := newTail(t)
			require.NoError(t, os.Mkdir(x.path("aside"), 0o700))
			x.settings.Include = []string{x.path("a.log"), x.path(deleted), x.path("[cd].log")}
			x.settings.MaxOpenFiles = 3 // as many as are gone from their paths then, and one
			x.settings.RotateWait, x.settings.Text.FlushPeriod = time.Minute, time.Minute
			x.settings.Text.Multiline = multiline(t, `^\d+ `, true, false)
			x.write(deleted, "0 open\n")
			x.run().readOut()
			x.write("a.log", "1 a\n2 a\n")
			x.want("1 a")
			x.write("c.log", "0 takes the last handle\n")
			x.readOut()
			x.write("d.log", "0 takes the handle of the oldest\n")
			x.readOut()
			before, err := os.Stat(x.path(deleted))
			require.NoError(t, err)
			x.engine.mu.Lock() // holds discovery up
			require.NoError(t, os.Remove(x.path(deleted)))
			x.rename("a.log", "a.log.2")
			x.write("a.log", "3 b\n4 b\n")
			after, err := os.Stat(x.path("a.log"))
			x.rename("a.log", "a.log.1")
			x.write("a.log", "5 c\n6 c\n")
			x.engine.mu.Unlock()
			require.NoError(t, err)
			if !os.SameFile(before, after) {
				t.Skip("this file system does not give an inode again at once")
			}
			capturetest.WaitFor(t, "all events that are ended", func() bool { return x.consumer.Len() == 4 })
			x.settled()
			got := slices.DeleteFunc(x.consumer.Bodies(), func(body string) bool { return body == "0 open" })
			require.Equal(t, []string{"1 a", "3 b", "5 c"}, got)
			require.Zero(t, x.value("otelcol_logcapture_gaps"))
		})
	}
}
