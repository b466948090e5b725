package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// stream is a shape in which files grow at a steady rate while the collector is watched.
type stream struct {
	name, title string
	slow        int // files
	rate        int // lines a second over all slow files
	hot         int // lines a second of one more file, which is the first
}

func streams() []stream {
	return []stream{
		{"latency", "1 file, 100 lines/s", 1, 100, 0},
		{"trickle", "10,000 files, 1 line/s each", 10_000, 10_000, 0},
		{"hot", "1,000 files, 1 line/s each, beside one of 100,000 lines/s", 1000, 1000, 100_000},
	}
}

// flow is what a stream showed.
type flow struct {
	Shape, Peer string
	watched
	P50, P99       time.Duration // append to sink, of the slow files
	HotP50, HotP99 time.Duration
	Written        int64
	Missing        int64 // not there 10 s after the last append
	PeakRSS        int64
}

func (b *bench) live(ctx context.Context) error {
	for _, s := range streams() {
		if !b.chooses(s.name) {
			continue
		}
		for _, name := range []string{fileLog, fileTail} {
			if !b.wants(name) {
				continue
			}
			f, err := b.flow(ctx, s, b.peers[name], b.wait)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.note("%s, %s: %v", s.name, name, err)
				continue
			}
			b.report.Live = append(b.report.Live, f)
			b.say("%-12s %-20s %.1f %% of a core (waited %.1f %%), p50 %v, p99 %v; hot p50 %v, p99 %v; %d of %d missing", s.name, name, 100*f.Share, 100*f.Waited,
				f.P50, f.P99, f.HotP50, f.HotP99, f.Missing, f.Written)
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (b *bench) flow(ctx context.Context, s stream, p peer, pass func(context.Context, *collector) error) (flow, error) {
	d := data{files: s.slow, line: 200}
	if s.hot > 0 {
		d.files++
	}
	r, err := newRun(b.dir, &d)
	if err != nil {
		return flow{}, err
	}
	defer r.remove()
	if err := d.write(r.seen, int64(d.files)*int64(d.line)); err != nil {
		return flow{}, err
	}
	sink, err := newSink()
	if err != nil {
		return flow{}, err
	}
	defer sink.close()
	c, err := newCollector(b.binary, r.dir, p.pipeline(&d, r.live, exporter(outputOTLP, sink.address)))
	if err != nil {
		return flow{}, err
	}
	if err := c.start(ctx); err != nil {
		return flow{}, err
	}
	defer c.stop()
	limit, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("not all of the first %d lines came", d.lines))
	defer cancel()
	if err := sink.received(limit, d.lines); err != nil {
		return flow{}, err
	}
	w, err := newWriter(s, &d, r.seen)
	if err != nil {
		return flow{}, err
	}
	defer w.close()
	return follow(ctx, w, c, sink, pass)
}

// follow writes, and watches the collector once that has settled, until pass has let the time pass.
func follow(ctx context.Context, w *writer, c *collector, to *sink, pass func(context.Context, *collector) error) (flow, error) {
	f := flow{Shape: w.name, Peer: keys(c.config["receivers"].(map[string]any))[0]}
	before := to.records.Load()
	writing, end := context.WithCancel(ctx)
	defer end()
	written := make(chan error, 1)
	go func() { written <- w.write(writing) }()
	if err := wait(ctx, 3*time.Second); err != nil {
		return f, err
	}
	to.measure(true)
	var err error
	f.watched, err = watch(ctx, c, pass)
	if err != nil {
		return f, err
	}
	end()
	if err := <-written; err != nil {
		return f, err
	}
	f.Written = w.lines
	limit, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = to.received(limit, before+w.lines) // what is missing is a result
	f.Missing = before + w.lines - to.records.Load()
	f.P50, f.P99, _ = to.quantiles(classSlow)
	f.HotP50, f.HotP99, _ = to.quantiles(classHot)
	m, err := memoryOf(c.pid())
	f.PeakRSS = m.peak
	return f, err
}

// Classes of timed lines.
const (
	classSlow = 'S'
	classHot  = 'H'
)

// writer appends to the files of a stream.
type writer struct {
	stream
	files []*os.File // the hot one first
	lines int64
	rest  string // of a line behind its stamp
}

func newWriter(s stream, d *data, dir string) (*writer, error) {
	w := &writer{stream: s, rest: " " + d.text(0, 1)[:d.line-stampSize-2] + "\n"}
	for file := range d.files {
		f, err := os.OpenFile(filepath.Join(dir, d.fileName(file)), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			w.close()
			return nil, err
		}
		w.files = append(w.files, f)
	}
	return w, nil
}

func (w *writer) close() {
	for _, f := range w.files {
		_ = f.Close()
	}
}

// write appends until ctx ends, every 5 ms what is due by then.
func (w *writer) write(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	slow, hot := 0, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			due := now.Sub(start).Seconds()
			for ; slow < int(due*float64(w.rate)); slow++ {
				if err := w.append(len(w.files)-w.slow+slow%w.slow, classSlow, 1); err != nil {
					return err
				}
			}
			n := int(due*float64(w.hot)) - hot
			if n > 0 {
				if err := w.append(0, classHot, n); err != nil {
					return err
				}
				hot += n
			}
		}
	}
}

// append writes n lines with one call.
func (w *writer) append(file int, class byte, n int) error {
	line := stamp(class) + w.rest
	text := make([]byte, 0, n*len(line))
	for range n {
		text = append(text, line...)
	}
	w.lines += int64(n)
	_, err := w.files[file].Write(text)
	return err
}
