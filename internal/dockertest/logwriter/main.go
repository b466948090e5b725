//go:build unix

// Command logwriter is the one program inside the image of package dockertest: it writes to stdout and stderr what the
// steps in its arguments say (see package script). It is built static for a FROM scratch image and runs as process 1,
// on a single goroutine.
//
// Two files in its writable layer survive a restart of the same container: /runs counts the runs, /seq keeps the numbers
// for Lines.Resume.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// exitTerminated is what a shell reports for a process ended by SIGTERM.
const exitTerminated = 128 + int(syscall.SIGTERM)

var signals = map[string]os.Signal{
	"TERM": syscall.SIGTERM,
	"INT":  syscall.SIGINT,
	"HUP":  syscall.SIGHUP,
	"USR1": syscall.SIGUSR1,
	"USR2": syscall.SIGUSR2,
}

func main() {
	// The directory can be set so that the program is testable outside a container.
	dir := os.Getenv("LOGWRITER_STATE")
	if dir == "" {
		dir = "/"
	}
	code, err := run(dir, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "logwriter:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func run(dir string, args []string) (int, error) {
	steps, err := script.Parse(args)
	if err != nil {
		return 0, err
	}
	w, err := newWriter(dir)
	if err != nil {
		return 0, err
	}
	for len(steps) > 0 {
		step := steps[0]
		steps = steps[1:]
		switch s := step.(type) {
		case script.Lines:
			err = w.lines(s)
		case script.Raw:
			err = w.raw(s)
		case script.Wait:
			w.wait(s)
		case script.Exit:
			return s.Code, nil
		}
		if err != nil {
			return 0, err
		}
		if w.terminated {
			w.terminated = false
			if steps = afterWaitForTerm(steps); steps == nil {
				return exitTerminated, nil
			}
		}
	}
	return 0, nil
}

// afterWaitForTerm returns the steps behind the next Wait for TERM, nil when there is none.
func afterWaitForTerm(steps []script.Step) []script.Step {
	for i, s := range steps {
		if w, ok := s.(script.Wait); ok && w.Signal == "TERM" {
			return append([]script.Step{}, steps[i+1:]...)
		}
	}
	return nil
}

// output is one of the two streams.
type output struct {
	name    string
	file    *os.File
	seq     int
	last    int   // the number that ends the step
	seqAt   int64 // where seq stands in the state file
	pending []byte
}

type writer struct {
	outs       []*output
	run        int
	state      *os.File
	got        chan os.Signal
	seen       map[os.Signal]bool // came before the Wait that asks for them
	terminated bool               // SIGTERM came and no Wait was there to take it
}

func newWriter(dir string) (*writer, error) {
	runs, err := os.OpenFile(filepath.Join(dir, "runs"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer runs.Close()
	if _, err := runs.Write([]byte{'.'}); err != nil {
		return nil, err
	}
	info, err := runs.Stat()
	if err != nil {
		return nil, err
	}
	state, err := os.OpenFile(filepath.Join(dir, "seq"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	w := &writer{
		outs: []*output{
			{name: script.Stdout, file: os.Stdout},
			{name: script.Stderr, file: os.Stderr, seqAt: 8},
		},
		run:   int(info.Size()),
		state: state,
		got:   make(chan os.Signal, 16),
		seen:  make(map[os.Signal]bool),
	}
	for _, sig := range signals {
		signal.Notify(w.got, sig)
	}
	return w, nil
}

// streams returns the outputs that the name of a step means.
func (w *writer) streams(name string) []*output {
	switch name {
	case script.Stderr:
		return w.outs[1:]
	case script.Both:
		return w.outs
	default:
		return w.outs[:1]
	}
}

func (w *writer) lines(s script.Lines) error {
	outs := w.streams(s.Stream)
	for _, o := range outs {
		o.last = o.seq + s.Count
		if s.Resume {
			o.seq, o.last = w.loadSeq(o), s.Count
		}
	}
	begin := time.Now()
	for n := 0; s.PerRun == 0 || n < s.PerRun; n++ {
		open := 0
		for _, o := range outs {
			if s.Count == 0 || o.seq < o.last {
				open++
			}
		}
		if open == 0 || w.pause(s, begin, n) {
			break
		}
		for _, o := range outs {
			if err := w.line(o, s); err != nil {
				return err
			}
		}
	}
	for _, o := range outs {
		if err := w.flush(o, s); err != nil {
			return err
		}
	}
	return nil
}

// pause keeps to the rate after n lines per stream and reports whether SIGTERM came.
func (w *writer) pause(s script.Lines, begin time.Time, n int) bool {
	if s.PerSecond > 0 {
		due := begin.Add(time.Duration(float64(n) / s.PerSecond * float64(time.Second)))
		if d := time.Until(due); d > 0 {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case sig := <-w.got:
				w.take(sig)
			case <-timer.C:
			}
		}
	}
	for {
		select {
		case sig := <-w.got:
			w.take(sig)
		default:
			return w.terminated
		}
	}
}

// take remembers a signal for the step that waits for it.
func (w *writer) take(sig os.Signal) {
	if sig == syscall.SIGTERM {
		w.terminated = true
		return
	}
	w.seen[sig] = true
}

func (w *writer) line(o *output, s script.Lines) error {
	if s.Count > 0 && o.seq >= o.last {
		return nil
	}
	o.seq++
	o.pending = script.AppendLine(o.pending, o.name, w.run, o.seq, s.Length)
	if o.seq != o.last || !s.NoFinalNewline {
		o.pending = append(o.pending, '\n')
	}
	if len(o.pending) < s.Block {
		return nil
	}
	return w.flush(o, s)
}

func (w *writer) flush(o *output, s script.Lines) error {
	if len(o.pending) > 0 {
		if _, err := o.file.Write(o.pending); err != nil {
			return err
		}
		o.pending = o.pending[:0]
	}
	if !s.Resume {
		return nil
	}
	_, err := w.state.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(o.seq)), o.seqAt)
	return err
}

func (w *writer) loadSeq(o *output) int {
	var b [8]byte
	if _, err := w.state.ReadAt(b[:], o.seqAt); err != nil {
		return 0 // not written yet
	}
	return int(binary.LittleEndian.Uint64(b[:]))
}

func (w *writer) raw(s script.Raw) error {
	for range max(1, s.Repeat) {
		for _, o := range w.streams(s.Stream) {
			if _, err := o.file.Write(s.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) wait(s script.Wait) {
	var elapsed, poll <-chan time.Time
	if s.Millis > 0 {
		elapsed = time.After(time.Duration(s.Millis) * time.Millisecond)
	}
	if s.File != "" {
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		poll = ticker.C
	}
	for {
		if want := signals[s.Signal]; w.seen[want] {
			delete(w.seen, want)
			return
		}
		select {
		case sig := <-w.got:
			w.take(sig)
			if w.terminated {
				w.terminated = s.Signal != "TERM"
				return
			}
		case <-elapsed:
			return
		case <-poll:
			if _, err := os.Stat(s.File); err == nil {
				return
			}
		}
	}
}
