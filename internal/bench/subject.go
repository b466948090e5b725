package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// subject is a running peer that is measured.
type subject interface {
	// pids are its processes.
	pids() []int
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

func (c collected) pids() []int { return []int{c.pid()} }

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

// floored is the floor as a subject: one process or several, each with a share of the files and one core.
type floored struct {
	variant string
	folder  string
	parts   []floorPart
}

// floorPart is one process.
type floorPart struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output *bufio.Reader
	count  int64
	allocs uint64 // up to when it said so last
}

func newFloored(p peer, folder string) *floored {
	return &floored{variant: p.floor, folder: folder, parts: make([]floorPart, max(1, p.processes))}
}

func (f *floored) pids() (pids []int) {
	for i := range f.parts {
		pids = append(pids, f.parts[i].cmd.Process.Pid)
	}
	return pids
}

func (f *floored) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i := range f.parts {
		cmd := exec.CommandContext(ctx, self, "floor", f.variant, f.folder, strconv.Itoa(i), strconv.Itoa(len(f.parts)))
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		cmd.Stderr = os.Stderr
		if err := f.parts[i].start(cmd); err != nil {
			return err
		}
	}
	return nil
}

func (p *floorPart) start(cmd *exec.Cmd) (err error) {
	if p.input, err = cmd.StdinPipe(); err != nil {
		return err
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.output = bufio.NewReader(output)
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd = cmd
	_, err = fmt.Fscanf(p.output, "ready %d\n", &p.allocs)
	return err
}

func (f *floored) finished(context.Context, int64) error {
	for i := range f.parts {
		if _, err := fmt.Fprintln(f.parts[i].input); err != nil {
			return err
		}
	}
	for i := range f.parts {
		p := &f.parts[i]
		if _, err := fmt.Fscanf(p.output, "%d %d\n", &p.count, &p.allocs); err != nil {
			return err
		}
	}
	return nil
}

func (f *floored) counted(context.Context) (count int64, err error) {
	for i := range f.parts {
		count += f.parts[i].count
	}
	return count, nil
}

func (f *floored) mallocs(context.Context) (sum uint64, err error) {
	for i := range f.parts {
		sum += f.parts[i].allocs
	}
	return sum, nil
}

func (f *floored) stop() {
	for i := range f.parts {
		if p := &f.parts[i]; p.cmd != nil {
			_ = p.input.Close()
			_ = p.cmd.Wait()
		}
	}
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
