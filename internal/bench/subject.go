package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// subject is a running process that is measured.
type subject interface {
	pid() int
	// start starts it and waits until it could read. The files are not there yet.
	start(ctx context.Context) error
	// finished waits until all n records are read and handed on.
	finished(ctx context.Context, n int64) error
	// counted returns how many records were handed on in the end.
	counted(ctx context.Context) (int64, error)
	// mallocs is the number of allocations up to now.
	mallocs(ctx context.Context) (uint64, error)
	stop()
}

// collected is a collector as a subject.
type collected struct {
	*collector
	sink *sink // nil: the collector's own count is taken
}

func (c collected) finished(ctx context.Context, n int64) error {
	if c.sink != nil {
		return c.sink.received(ctx, n)
	}
	// Each look costs the collector about half a millisecond.
	return poll(ctx, 50*time.Millisecond, func() (bool, error) {
		count, err := c.accepted(ctx)
		return count >= n, err
	})
}

func (c collected) counted(ctx context.Context) (int64, error) {
	if c.sink != nil {
		return c.sink.records.Load(), nil
	}
	return c.accepted(ctx)
}

func (c collected) mallocs(ctx context.Context) (uint64, error) {
	h, err := c.heap(ctx, false)
	return h.mallocs, err
}

// floored is the floor as a subject.
type floored struct {
	variant string
	env     []string
	folder  string

	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	count  int64
	before uint64
	after  uint64
	read   bool
}

func (f *floored) pid() int { return f.cmd.Process.Pid }

func (f *floored) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f.cmd = exec.CommandContext(ctx, self, "floor", f.variant, f.folder)
	f.cmd.Env = append(os.Environ(), f.env...)
	f.cmd.Stderr = os.Stderr
	if f.input, err = f.cmd.StdinPipe(); err != nil {
		return err
	}
	output, err := f.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	f.output = bufio.NewReader(output)
	if err := f.cmd.Start(); err != nil {
		return err
	}
	_, err = fmt.Fscanf(f.output, "ready %d\n", &f.before)
	return err
}

func (f *floored) finished(context.Context, int64) error {
	if _, err := fmt.Fprintln(f.input); err != nil {
		return err
	}
	_, err := fmt.Fscanf(f.output, "%d %d\n", &f.count, &f.after)
	f.read = true
	return err
}

func (f *floored) counted(context.Context) (int64, error) { return f.count, nil }

func (f *floored) mallocs(context.Context) (uint64, error) {
	if f.read {
		return f.after, nil
	}
	return f.before, nil
}

func (f *floored) stop() {
	_ = f.input.Close()
	_ = f.cmd.Wait()
}

// run is one run of a peer: its folder, where the files appear, and its process.
type run struct {
	dir  string
	live string // with the format's folders below
	seen string // where the files are to be
}

func newRun(parent string, d *data) (run, error) {
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		return run{}, err
	}
	live := filepath.Join(dir, "live")
	r := run{dir: dir, live: live, seen: filepath.Join(live, d.folder())}
	return r, os.MkdirAll(r.seen, 0o700)
}

func (r run) remove() { _ = os.RemoveAll(r.dir) }
