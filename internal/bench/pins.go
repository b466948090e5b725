package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// keepOne is how many records are read for one that is kept.
const keepOne = 1000

// pinned is what kept records hold in memory.
type pinned struct {
	Peer      string
	Kept      int64
	PerRecord float64 // bytes of heap above what was there before, after a garbage collection
	RSS       int64   // above what was there before
}

// pins shows whether a kept record holds the memory of those that were dropped around it: a filter keeps 1 of 1,000 for a queue
// that nobody empties.
func (b *bench) pins(ctx context.Context) error {
	if !b.chooses("pins") {
		return nil
	}
	d := data{files: 1, line: 200, mark: keepOne}
	dir := filepath.Join(b.dir, "pins")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := d.write(dir, b.size); err != nil {
		return err
	}
	for _, name := range []string{fileLog, fileTail, fileTail + ", resource"} {
		if !b.wants(name) {
			continue
		}
		p, err := b.pin(ctx, b.peers[name], &d, dir)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.note("pins, %s: %v", name, err)
			continue
		}
		p.Peer = name
		b.report.Pins = append(b.report.Pins, p)
		b.say("%-12s %-20s %d kept, %.0f bytes of heap each, RSS %d MB more", "pins", name, p.Kept, p.PerRecord, p.RSS>>20)
	}
	return ctx.Err()
}

func (b *bench) pin(ctx context.Context, p peer, d *data, prewritten string) (pinned, error) {
	r, err := newRun(b.dir, d)
	if err != nil {
		return pinned{}, err
	}
	defer r.remove()
	to, err := newSink()
	if err != nil {
		return pinned{}, err
	}
	defer to.close()
	to.hold.Store(true)
	c, err := newCollector(b.binary, r.dir, pipeline{
		receiver:  p.receiver(d, r.live),
		processor: map[string]any{"filter": map[string]any{"logs": map[string]any{"log_record": []string{`not IsMatch(body, "^KEEP")`}}}},
		exporter: map[string]any{"otlp_grpc": map[string]any{
			"endpoint": to.address, "timeout": "1h", "tls": map[string]any{"insecure": true},
			"sending_queue": map[string]any{"sizer": "items", "queue_size": 10_000_000, "num_consumers": 1},
		}},
	})
	if err != nil {
		return pinned{}, err
	}
	if err := c.validate(ctx); err != nil {
		return pinned{}, err
	}
	if err := c.start(ctx); err != nil {
		return pinned{}, err
	}
	defer c.stop()
	return weigh(ctx, c, d, func() error { return d.link(prewritten, r.seen) })
}

func weigh(ctx context.Context, c *collector, d *data, begin func() error) (pinned, error) {
	kept := (d.lines + keepOne - 1) / keepOne
	p := pinned{Kept: kept}
	before, err := c.heap(ctx, true)
	if err != nil {
		return p, err
	}
	memory, err := memoryOf(c.pid())
	if err != nil {
		return p, err
	}
	if err := begin(); err != nil {
		return p, err
	}
	limit, cancel := context.WithTimeoutCause(ctx, 5*time.Minute, fmt.Errorf("not all of %d records came", d.lines))
	defer cancel()
	if err := (collected{collector: c}).finished(limit, d.lines); err != nil {
		return p, err
	}
	const calm = 5 * time.Second // then the memory is given back that is held while much is read
	if err := wait(ctx, calm); err != nil {
		return p, err
	}
	after, err := c.heap(ctx, true)
	if err != nil {
		return p, err
	}
	end, err := memoryOf(c.pid())
	p.PerRecord = float64(int64(after.inUse)-int64(before.inUse)) / float64(kept)
	p.RSS = end.now - memory.now
	return p, err
}
