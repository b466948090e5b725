//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// checked counts the sink's records line by line, from containers (source `<container>/<stream>`) and files (source
// `<name>`, written by a fileWriter). A record that says another source than its text does is wrong.
type checked struct {
	*tally
	wrong []string // guarded by tally.mu
}

// check sets the sink to count what it gets. Before the first request.
func check(s *sink) *checked {
	c := &checked{tally: newTally()}
	s.each = c.record
	return c
}

func (c *checked) record(r record) {
	source, part, seq, ok := lineOf(r)
	if ok {
		c.add(source, part, seq)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = append(c.wrong, fmt.Sprintf("%.100q of %v %v", r.body, r.resource, r.attrs))
}

// lineOf says which line of which source a record is.
func lineOf(r record) (source string, part, seq int, ok bool) {
	stream, run, seq, ok := script.ParseLine(r.body)
	if name := r.str("container.name"); name != "" {
		return name + "/" + stream, 0, seq, ok && r.str("log.iostream") == stream
	}
	// A rotated file keeps its name and gets a suffix.
	return stream, run, seq, ok && strings.HasPrefix(r.str("log.file.name"), stream+".log")
}

// exact fails the test unless every line came once, in order and under its source.
func (c *checked) exact(t *testing.T) {
	t.Helper()
	if found := c.findings(); found != "" {
		t.Errorf("lines are not as written:%s", found)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.wrong); n > 0 {
		t.Errorf("%d records that nobody wrote like that, as\n%s", n, strings.Join(c.wrong[:min(n, 10)], "\n"))
	}
}

// incomplete says too what came otherwise than it was written: that may be what is missing.
func (c *checked) incomplete() string {
	missing := c.tally.incomplete()
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.wrong); missing != "" && n > 0 {
		missing += fmt.Sprintf("\n%d records that nobody wrote like that: %s", n, c.wrong[0])
	}
	return missing
}

// complete waits until every expected line has come.
func (c *checked) complete(t *testing.T, limit time.Duration) {
	t.Helper()
	eventually(t, limit, "all lines", c.incomplete)
}

// expectContainer says what a container writes to each of its two streams.
func (c *checked) expectContainer(name string, lines int) {
	c.expect(name+"/"+script.Stdout, lines)
	c.expect(name+"/"+script.Stderr, lines)
}

// sameAsEngine holds the records of a container against the engine's own log: the same lines with the same stamps, in
// the same order per stream, and what the engine knows about the container in the resource.
func sameAsEngine(t *testing.T, s *sink, c *dockertest.Container) {
	t.Helper()
	got := map[string][]record{}
	name, tag, _ := strings.Cut(c.Image, ":")
	want := map[string]any{
		"container.id": c.ID, "container.name": c.Name, "container.image.name": name,
		"container.image.tags": []any{tag}, "container.runtime.name": "docker",
	}
	for _, r := range s.where(func(r record) bool { return r.resource["container.id"] == c.ID }) {
		got[r.str("log.iostream")] = append(got[r.str("log.iostream")], r)
		for key, value := range want {
			if fmt.Sprint(r.resource[key]) != fmt.Sprint(value) {
				t.Fatalf("%s: %s is %v, want %v", c.Name, key, r.resource[key], value)
			}
		}
		// The engine stamps a line when it reads it, so it was seen after that, on the same clock.
		if r.observed.Before(r.stamp) || r.observed.After(time.Now()) {
			t.Fatalf("%s: line %q of %v was observed at %v", c.Name, r.body, r.stamp, r.observed)
		}
	}
	written := map[string][]dockertest.Entry{}
	for _, e := range c.Logs() {
		written[e.Stream] = append(written[e.Stream], e)
	}
	streams := slices.Collect(maps.Keys(written))
	for stream := range got {
		if written[stream] == nil {
			streams = append(streams, stream)
		}
	}
	for _, stream := range streams {
		sameLines(t, c.Name+"/"+stream, got[stream], written[stream])
	}
}

func sameLines(t *testing.T, source string, got []record, want []dockertest.Entry) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %d records, the engine has %d; %q is the first that is missing", source, len(got), len(want), want[i].Text)
		case i >= len(want):
			t.Errorf("%s: %d records, the engine has %d; %q is the first too many", source, len(got), len(want), got[i].body)
		case got[i].body != want[i].Text || !got[i].stamp.Equal(want[i].Stamp):
			t.Errorf("%s: record %d is %v %q, the engine has %v %q", source, i+1,
				got[i].stamp.UTC(), got[i].body, want[i].Stamp.UTC(), want[i].Text)
		default:
			continue
		}
		return
	}
}

// fileWriter writes numbered lines to <name>.log and rotates it by renaming; the run in a line counts the files.
type fileWriter struct {
	dir, name string
	lines     int // 0: until it is ended
	perSecond float64
	// rotateEvery renames the file to <name>.log.1, .2, … after that many lines; 0 never does.
	rotateEvery int
	// allowed, where it is set, holds the writer at that many lines until it allows more.
	allowed *atomic.Int64

	file   *os.File
	run    int
	opened time.Time
}

// mtimeStep is longer than the steps of the kernel's clock for files: by then two files differ in the time of their last
// change, which is all that tells the order of files made while nobody looked.
const mtimeStep = 20 * time.Millisecond

// write writes until all is written or stop is closed, and returns the number of the last line.
func (w *fileWriter) write(stop <-chan struct{}) (int, error) {
	if err := w.open(); err != nil {
		return 0, err
	}
	defer func() { _ = w.file.Close() }()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	begin := time.Now()
	for seq := 1; w.lines == 0 || seq <= w.lines; seq++ {
		for !w.due(seq, time.Since(begin)) {
			select {
			case <-ticker.C:
			case <-stop:
				return seq - 1, nil
			}
		}
		if err := w.line(seq); err != nil {
			return seq - 1, err
		}
	}
	return w.lines, nil
}

func (w *fileWriter) due(seq int, elapsed time.Duration) bool {
	if w.allowed != nil && int64(seq) > w.allowed.Load() {
		return false
	}
	if time.Since(w.opened) < mtimeStep {
		return false
	}
	return w.perSecond == 0 || float64(seq-1) <= elapsed.Seconds()*w.perSecond
}

// line appends a line, some of them in two writes, as programs with a small buffer do, and rotates behind it.
func (w *fileWriter) line(seq int) error {
	line := append(script.AppendLine(nil, w.name, w.run, seq, 80), '\n')
	cut := len(line)
	if seq%10 == 0 {
		cut = seq % 80
	}
	for _, part := range [][]byte{line[:cut], line[cut:]} {
		if _, err := w.file.Write(part); err != nil {
			return err
		}
	}
	if w.rotateEvery == 0 || seq%w.rotateEvery != 0 || seq == w.lines {
		return nil
	}
	if err := os.Rename(w.path(), fmt.Sprintf("%s.%d", w.path(), w.run)); err != nil {
		return err
	}
	_ = w.file.Close()
	return w.open()
}

func (w *fileWriter) open() (err error) {
	w.run++
	w.opened = time.Now()
	w.file, err = os.OpenFile(w.path(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return err
}

func (w *fileWriter) path() string { return filepath.Join(w.dir, w.name+".log") }

// writing is fileWriters at work, ended with the test at the latest.
type writing struct {
	t     *testing.T
	names []string
	group sync.WaitGroup
	stop  func()
	last  []int
	errs  []error
}

func background(t *testing.T, writers []fileWriter) *writing {
	t.Helper()
	stop := make(chan struct{})
	w := &writing{
		t: t, stop: sync.OnceFunc(func() { close(stop) }), last: make([]int, len(writers)), errs: make([]error, len(writers)),
	}
	for i := range writers {
		w.names = append(w.names, writers[i].name)
		w.group.Go(func() { w.last[i], w.errs[i] = writers[i].write(stop) })
	}
	t.Cleanup(func() {
		w.stop()
		w.group.Wait()
	})
	return w
}

// wait waits until all lines are written.
func (w *writing) wait() {
	w.t.Helper()
	w.group.Wait()
	for i, err := range w.errs {
		if err != nil {
			w.t.Errorf("write %s: %v", w.names[i], err)
		}
	}
}

// end stops the writers and expects what they have written.
func (w *writing) end(lines *checked) {
	w.t.Helper()
	w.stop()
	w.wait()
	for i, name := range w.names {
		lines.expect(name, w.last[i])
	}
}

func TestFileWriterWritesAllLinesOverItsRotatedFiles(t *testing.T) {
	dir := t.TempDir()
	var allowed atomic.Int64
	allowed.Store(5)
	endless := background(t, []fileWriter{{dir: dir, name: "four", allowed: &allowed}})
	background(t, []fileWriter{
		{dir: dir, name: "one", lines: 95, rotateEvery: 10},
		{dir: dir, name: "two", lines: 20, rotateEvery: 10, perSecond: 400},
		{dir: dir, name: "three", lines: 3},
	}).wait()
	lines := &checked{tally: newTally()}
	eventually(t, readyLimit, "allowed lines", func() string {
		content, err := os.ReadFile(filepath.Join(dir, "four.log"))
		if err != nil || strings.Count(string(content), "\n") < 5 {
			return fmt.Sprintf("%q, %v", content, err)
		}
		return ""
	})
	endless.end(lines)
	if got := lines.of("four").want; got != 5 {
		t.Errorf("the writer that was ended reports %d lines, want 5", got)
	}
	for name, want := range map[string]struct{ files, lines int }{
		"one": {10, 95}, "two": {2, 20}, "three": {1, 3}, "four": {1, 5},
	} {
		files, err := filepath.Glob(filepath.Join(dir, name+".log*"))
		if err != nil || len(files) != want.files {
			t.Fatalf("got files %v, %v; want %d", files, err, want.files)
		}
		tl := newTally()
		tl.expect(name, want.lines)
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(content)) {
				stream, run, seq, ok := script.ParseLine(strings.TrimSuffix(line, "\n"))
				if !ok || stream != name {
					t.Fatalf("%s holds %q", file, line)
				}
				tl.add(name, run, seq)
			}
		}
		if found := tl.findings(); found != "" {
			t.Error(found)
		}
	}
}
