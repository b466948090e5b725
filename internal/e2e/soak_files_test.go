//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

const (
	fleetDirs   = 10
	fleetLength = 80 // bytes of a line
)

// fleet is many log files in some directories, written by one goroutine that goes round them.
type fleet struct {
	t      *testing.T
	root   string
	lines  *checked
	done   chan struct{}
	writer sync.WaitGroup

	mu      sync.Mutex // guards all below
	files   []*fleetFile
	dirs    []string // by number; swapping changes what a number leads to
	written int
	err     error
}

// fleetFile is one log of a program. It has had several files under its name, its parts.
type fleetFile struct {
	name   string
	dir    int
	handle *os.File
	part   int
	seq    int
	held   bool // not written to
}

// newFleet makes the files below root, and writes to them, all together, the lines per second until the test ends.
func newFleet(t *testing.T, lines *checked, root string, size soakSize) *fleet {
	t.Helper()
	files := size.files
	f := &fleet{t: t, root: root, lines: lines, done: make(chan struct{})}
	for i := range min(fleetDirs, files) {
		f.dirs = append(f.dirs, filepath.Join(f.root, fmt.Sprintf("dir-%d", i)))
		if err := os.Mkdir(f.dirs[i], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range files {
		file := &fleetFile{name: fmt.Sprintf("app-%04d", i), dir: i % len(f.dirs), part: 1}
		f.files = append(f.files, file)
		if err := f.create(file); err != nil {
			t.Fatal(err)
		}
		if err := f.line(file); err != nil {
			t.Fatal(err)
		}
	}
	f.writer.Go(func() { f.write(size.fileRate) })
	t.Cleanup(f.stop)
	return f
}

func (f *fleet) path(file *fleetFile) string {
	return filepath.Join(f.dirs[file.dir], file.name+".log")
}

// create opens the file for appending, as logs are.
func (f *fleet) create(file *fleetFile) (err error) {
	file.handle, err = os.OpenFile(f.path(file), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return err
}

func (f *fleet) line(file *fleetFile) error {
	file.seq++
	f.written++
	_, err := file.handle.Write(append(script.AppendLine(nil, file.name, file.part, file.seq, fleetLength), '\n'))
	return err
}

func (f *fleet) write(perSecond float64) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for begin, n := time.Now(), 0; ; {
		select {
		case <-f.done:
			return
		case <-ticker.C:
		}
		f.mu.Lock()
		for ; float64(n) < time.Since(begin).Seconds()*perSecond; n++ {
			if file := f.files[n%len(f.files)]; !file.held && f.err == nil {
				f.err = f.line(file)
			}
		}
		f.mu.Unlock()
	}
}

// stop ends the writing and tells the tally what was written.
func (f *fleet) stop() {
	select {
	case <-f.done:
		return
	default:
	}
	close(f.done)
	f.writer.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		f.t.Errorf("write files: %v", f.err)
	}
	for _, file := range f.files {
		f.lines.expect(file.name, file.seq)
		file.handle.Close()
	}
}

// remove deletes all files and directories.
func (f *fleet) remove() {
	f.t.Helper()
	for _, dir := range f.dirs {
		if err := os.RemoveAll(dir); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *fleet) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

// goesOn waits until that many more lines are written: time, as far as the files are concerned.
func (f *fleet) goesOn(lines int) {
	f.t.Helper()
	want := f.count() + lines
	eventually(f.t, completionLimit, "lines written to files", func() string {
		if n := f.count(); n < want {
			return fmt.Sprintf("%d of %d", n, want)
		}
		return ""
	})
}

// churn does to some files what programs and logrotate do. Each kind takes other files, and others in each round.
func (f *fleet) churn(round, each int) {
	f.t.Helper()
	f.mu.Lock()
	first := round * 4 * each
	pick := func(kind int) (some []*fleetFile) {
		for i := range each {
			some = append(some, f.files[(first+kind*each+i)%len(f.files)])
		}
		return some
	}
	renamed, copied, truncated, deleted := pick(0), pick(1), pick(2), pick(3)
	f.mu.Unlock()
	f.each(renamed, f.rename)
	f.goesOn(each)
	f.swap(round)
	f.goesOn(each)
	// What is truncated or deleted before it is read is lost to every reader: these wait for it, with their writer held.
	f.quiet(copied, f.copyTruncate)
	f.quiet(truncated, f.truncate)
	f.quiet(deleted, f.recreate)
	f.swap(round)
}

func (f *fleet) each(files []*fleetFile, do func(*fleetFile) error) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range files {
		if err := do(file); err != nil {
			f.t.Fatalf("%s: %v", file.name, err)
		}
	}
}

// quiet does something to files of which all lines have been captured.
func (f *fleet) quiet(files []*fleetFile, do func(*fleetFile) error) {
	f.t.Helper()
	f.hold(files, true)
	eventually(f.t, completionLimit, "lines of the files that are held", func() string { return f.missing(files) })
	f.each(files, do)
	f.hold(files, false)
}

func (f *fleet) hold(files []*fleetFile, held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, file := range files {
		file.held = held
	}
}

func (f *fleet) missing(files []*fleetFile) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines.mu.Lock()
	defer f.lines.mu.Unlock()
	for _, file := range files {
		if got := f.lines.of(file.name).got; got < file.seq {
			return fmt.Sprintf("%s: %d of %d", file.name, got, file.seq)
		}
	}
	return ""
}

// rename is logrotate's default, with one old file that the next rotation replaces.
func (f *fleet) rename(file *fleetFile) error {
	return errors.Join(
		os.Rename(f.path(file), f.path(file)+".1"),
		f.line(file), // writers go on for a while where they are
		f.next(file),
		f.create(file),
	)
}

func (f *fleet) copyTruncate(file *fleetFile) error {
	content, err := os.ReadFile(f.path(file))
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(f.path(file)+".1", content, 0o600), f.truncate(file))
}

func (f *fleet) truncate(file *fleetFile) error {
	file.part++
	return file.handle.Truncate(0)
}

func (f *fleet) recreate(file *fleetFile) error {
	return errors.Join(os.Remove(f.path(file)), f.next(file), f.create(file))
}

func (f *fleet) next(file *fleetFile) error {
	file.part++
	return file.handle.Close()
}

// swap exchanges two directories; their files are written to all the while.
func (f *fleet) swap(round int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	a, b, aside := round%len(f.dirs), (round+1)%len(f.dirs), filepath.Join(f.root, "aside")
	if err := errors.Join(os.Rename(f.dirs[a], aside), os.Rename(f.dirs[b], f.dirs[a]), os.Rename(aside, f.dirs[b])); err != nil {
		f.t.Fatal(err)
	}
	// What is in the directories has moved with them.
	for _, file := range f.files {
		switch file.dir {
		case a:
			file.dir = b
		case b:
			file.dir = a
		}
	}
}
