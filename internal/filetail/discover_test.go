package filetail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// never is an interval that does not end within a test: what it would find has to be found otherwise.
const never = time.Hour

// byEvents prepares an engine that finds out by the kernel's events only.
func byEvents(t *testing.T, include ...string) *tail {
	x := newTail(t)
	x.settings.ReconcileInterval = never
	x.settings.PollInterval = 20 * time.Millisecond // for the ends of rotated files only
	for i := range include {
		include[i] = filepath.Join(x.dir, include[i])
	}
	if len(include) > 0 {
		x.settings.Include = include
	}
	return x
}

func byPolls(t *testing.T) *tail {
	x := newTail(t)
	x.settings.Polling = true
	x.settings.ReconcileInterval = never
	return x
}

// looked waits until the first look is over.
func (x *tail) looked() *tail {
	x.t.Helper()
	capturetest.WaitFor(x.t, "the first look", func() bool { return x.looks() > 0 })
	return x
}

func TestAppendsAreReadAtOnce(t *testing.T) {
	x := byEvents(t)
	x.settings.PollInterval = never
	x.write("a.log", "0\n")
	x.run().want("0")
	var latencies []time.Duration
	for i := range 200 {
		began := time.Now()
		x.write("a.log", fmt.Sprintln(i))
		for x.consumer.Len() < i+2 {
			require.Less(t, time.Since(began), capturetest.Patience)
			time.Sleep(50 * time.Microsecond)
		}
		latencies = append(latencies, time.Since(began))
	}
	slices.Sort(latencies)
	t.Logf("p50 %s, p99 %s", latencies[100], latencies[198])
	require.Less(t, latencies[20], 100*time.Millisecond) // most of them far sooner on a machine that has nothing else to do
}

func TestDirectoriesAppearVanishAndComeBack(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T) *tail{
		"told by the kernel": func(t *testing.T) *tail { return byEvents(t) },
		"polled":             byPolls,
	} {
		t.Run(name, func(t *testing.T) {
			x := prepare(t)
			x.settings.Include = []string{x.path("top/**/*.log"), x.path("plain/a.log")}
			x.run().looked()
			var want []string
			line := func(path string) {
				require.NoError(t, os.MkdirAll(filepath.Dir(x.path(path)), 0o700))
				want = append(want, fmt.Sprintf("%s %d", path, len(want)))
				x.write(path, want[len(want)-1]+"\n")
				x.want(want...)
			}
			line("top/1/2/3/4/5/a.log")
			line("top/a.log")
			line("plain/a.log")
			for range 3 {
				line("top/1/2/3/4/5/a.log")
				require.NoError(t, os.RemoveAll(x.path("top")))
				require.NoError(t, os.RemoveAll(x.path("plain")))
				line("top/1/2/3/4/5/a.log")
				line("top/1/b.log")
				line("plain/a.log")
			}
			require.NoError(t, os.Rename(x.path("top"), x.path("old")))
			line("top/1/2/3/4/5/a.log")
		})
	}
}

func TestLinkedDirectoryIsSwappedWithAnUnreadTail(t *testing.T) {
	x := byEvents(t, "*.log")
	swap := func(i int) {
		dir := fmt.Sprintf("..%d", i)
		require.NoError(t, os.Mkdir(x.path(dir), 0o700))
		text, _ := lines(fmt.Sprint("gen", i), 1, 100)
		x.write(dir+"/x.log", text)
		require.NoError(t, os.Symlink(dir, x.path("..tmp")))
		x.rename("..tmp", "..data")
	}
	var want []string
	expect := func(i, from, to int) {
		_, bodies := lines(fmt.Sprint("gen", i), from, to)
		want = append(want, bodies...)
	}
	swap(0)
	require.NoError(t, os.Symlink("..data/x.log", x.path("x.log")))
	x.run().looked()
	expect(0, 1, 100)
	x.want(want...)
	for i := 1; i <= 3; i++ {
		text, _ := lines(fmt.Sprint("gen", i-1), 101, 200)
		x.write(fmt.Sprintf("..%d/x.log", i-1), text) // the target is written to, and replaced at once
		swap(i)
		expect(i-1, 101, 200)
		expect(i, 1, 100)
		x.want(want...)
	}
}

func TestLinkedFileInAnotherDirectoryIsReadAtOnce(t *testing.T) {
	x := byEvents(t, "links/*.log")
	require.NoError(t, os.Mkdir(x.path("links"), 0o700))
	require.NoError(t, os.Mkdir(x.path("pods"), 0o700))
	x.write("pods/0.log", "one\n")
	require.NoError(t, os.Symlink(x.path("pods/0.log"), x.path("links/a.log")))
	x.run().want("one")
	x.write("pods/0.log", "two\n")
	x.want("one", "two")
	x.rename("pods/0.log", "pods/0.log.1")
	x.write("pods/0.log", "three\n")
	x.want("one", "two", "three")
}

func TestLinksThatLeadInCirclesAreLeft(t *testing.T) {
	x := byEvents(t, "**/*.log")
	require.NoError(t, os.Mkdir(x.path("sub"), 0o700))
	require.NoError(t, os.Symlink(x.dir, x.path("sub/up")))
	x.write("sub/a.log", "one\n")
	x.run().want("one")
	require.EqualValues(t, 1, x.engine.watched())
}

func TestExcludedDirectoriesAreNotEntered(t *testing.T) {
	x := byEvents(t, "**/*.log")
	x.settings.Exclude = []string{x.path("no/**"), x.path("yes/no*.log")}
	for _, dir := range []string{"no/1", "yes/1"} {
		require.NoError(t, os.MkdirAll(x.path(dir), 0o700))
		x.write(dir+"/a.log", dir+"\n")
	}
	x.write("yes/no1.log", "excluded\n")
	x.run().looked()
	x.want("yes/1")
	require.EqualValues(t, 3, x.modes("notify")) // the top, yes, yes/1
}

func (x *tail) modes(mode string) int64 {
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	if mode == "poll" {
		return x.engine.modes.poll
	}
	return x.engine.modes.notify
}

func TestOneDirectoryUnderTwoPathsIsWatchedOnce(t *testing.T) {
	x := byEvents(t, "real/*.log", "link/*.log")
	require.NoError(t, os.Mkdir(x.path("real"), 0o700))
	require.NoError(t, os.Symlink(x.path("real"), x.path("link")))
	x.run().looked()
	x.write("real/a.log", "one\n")
	x.want("one")
	x.write("link/a.log", "two\n")
	x.want("one", "two")
	require.EqualValues(t, 1, x.engine.watched())
}

func TestOldFilesAreExcludedUntilTheyChange(t *testing.T) {
	for _, tt := range []struct {
		startAtEnd bool
		want       []string
	}{
		{false, []string{"fresh", "old", "changed"}},
		{true, []string{"changed"}},
	} {
		t.Run(fmt.Sprint("start at end ", tt.startAtEnd), func(t *testing.T) {
			x := byEvents(t)
			x.settings.ExcludeOlderThan = time.Hour
			x.settings.StartAtEnd = tt.startAtEnd
			x.write("fresh.log", "fresh\n")
			x.write("old.log", "old\n")
			past := time.Now().Add(-2 * time.Hour)
			require.NoError(t, os.Chtimes(x.path("old.log"), past, past))
			x.run().looked()
			if !tt.startAtEnd {
				x.want("fresh")
			}
			require.EqualValues(t, 1, x.engine.watched())
			x.write("old.log", "changed\n")
			x.want(tt.want...)
		})
	}
}

func TestNewFilesOfTheDowntimeAreReadFromTheirBeginning(t *testing.T) {
	x := byEvents(t)
	x.settings.StartAtEnd = true
	x.write("old.log", "skipped\n")
	x.run()
	capturetest.WaitFor(t, "the patterns are marked", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		return len(x.engine.marked) > 0
	})
	x.stop()
	x.write("old.log", "downtime\n")
	x.write("zzz.log", "new file\n")
	x.run()
	capturetest.WaitFor(t, "both lines", func() bool { return x.consumer.Len() == 2 })
	require.ElementsMatch(t, []string{"downtime", "new file"}, x.consumer.Bodies())
	x.stop()
	// For a pattern that was not looked for before it is the first start.
	x.settings.Include = append(x.settings.Include, x.path("*.txt"))
	x.write("a.txt", "skipped\n")
	x.run().looked()
	x.write("a.txt", "of the other pattern\n")
	capturetest.WaitFor(t, "the line", func() bool { return x.consumer.Len() == 3 })
	require.Equal(t, "of the other pattern", x.consumer.Bodies()[2])
}

func TestManyFilesAreReadThroughFewHandles(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 16
	const files, rounds = 500, 3
	x.run()
	for round := range rounds {
		for i := range files {
			text, _ := lines(fmt.Sprint(i), round*10+1, round*10+10)
			x.write(fmt.Sprintf("%d.log", i), text)
		}
		capturetest.WaitFor(t, "all lines", func() bool {
			require.LessOrEqual(t, x.engine.opened(), int64(16))
			return x.consumer.Len() >= files*10*(round+1)
		})
	}
	x.orderly(files)
	x.settled() // the list of open files is no snapshot
	require.LessOrEqual(t, openUnder(t, x.dir), 16)
}

// orderly checks that the lines of each file, as written by lines, have come once and in order.
func (x *tail) orderly(files int) {
	x.t.Helper()
	next := make(map[string]int)
	for _, body := range x.consumer.Bodies() {
		file, number, _ := strings.Cut(body, "-")
		next[file]++
		require.Equal(x.t, fmt.Sprint(next[file]), number, "file %s", file)
	}
	require.Len(x.t, next, files)
}

// openUnder counts the handles of the process that lead below a directory. The directory itself may be open at any time: it
// is listed again and again.
func openUnder(t *testing.T, dir string) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	for _, fd := range fds {
		if path, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(path, dir+"/") {
			n++
		}
	}
	return n
}

func TestClosedFilesAreFoundAgainAfterTheyWereRenamed(t *testing.T) {
	x := newTail(t)
	x.settings.MaxOpenFiles = 8
	x.settings.RotateWait = 500 * time.Millisecond
	const files = 40
	for i := range files {
		text, _ := lines(fmt.Sprint(i), 1, 10)
		x.write(fmt.Sprintf("%d.log", i), text)
	}
	x.run()
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= files*10 })
	for i := range files {
		text, _ := lines(fmt.Sprint(i), 11, 20)
		x.write(fmt.Sprintf("%d.log", i), text)
		x.rename(fmt.Sprintf("%d.log", i), fmt.Sprintf("%d.old", i))
	}
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= files*20 })
	x.orderly(files)
	capturetest.WaitFor(t, "the rotated files are let go", func() bool { return x.engine.watched() == 0 && x.engine.opened() == 0 })
	require.Zero(t, openUnder(t, x.dir))
}

// Where a link leads through changes without a name changing in the directory of the file, so it has to be known of each file.
func TestFilesBehindLinksAreKnown(t *testing.T) {
	for path, linked := range map[string]bool{"real/in/a.log": false, "link/in/a.log": true, "real/in/link.log": true} {
		t.Run(path, func(t *testing.T) {
			x := byEvents(t, path)
			require.NoError(t, os.MkdirAll(x.path("real/in"), 0o700))
			require.NoError(t, os.Symlink(x.path("real"), x.path("link")))
			x.write("real/in/a.log", "one\n")
			require.NoError(t, os.Symlink(x.path("real/in/a.log"), x.path("real/in/link.log")))
			x.run().want("one")
			x.engine.mu.Lock()
			defer x.engine.mu.Unlock()
			require.Equal(t, linked, x.engine.logs[x.path(path)].linked)
		})
	}
}

// Where many files grow at the same time, a round of events is not over with the first of them: each round costs a pause.
func TestEventsOfManyFilesAreTakenInFewRounds(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("none.log")}
	x.run().looked()
	d := &discovery{Engine: x.engine, slipped: make(map[string]bool), warned: make(map[string]bool), wait: time.NewTimer(0)}
	d.watches = newWatches(x.engine)
	defer d.watches.close()
	dir := newDirectory(nil, x.dir, nil)
	for _, p := range newPatterns(x.path("*.log")) {
		dir.states = append(dir.states, state{p, len(p.segments) - 1})
	}
	const files = 500
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), "old\n")
	}
	d.lookIn(t.Context(), dir, true)
	d.settle()
	require.Len(t, dir.entries, files)
	for i := range files {
		x.write(fmt.Sprintf("%d.log", i), "new\n")
	}
	told := func() (n int) {
		for _, ent := range dir.entries {
			if ent.round > 0 {
				n++
			}
		}
		return n
	}
	capturetest.WaitFor(t, "events of all files", func() bool {
		select {
		case event := <-d.watches.events():
			d.events(event)
		default:
		}
		return told() == files
	})
	t.Logf("%d rounds", d.round)
	require.Less(t, d.round, uint64(files/20))
	x.stop()
}
