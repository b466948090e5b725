package main

import (
	"context"
	"fmt"
	"time"
)

// resting is what a collector costs while nothing happens.
type resting struct {
	Peer  string
	Files int
	watched
	RSS int64
}

// idle watches collectors with files that do not grow. What a collector without any file costs is taken off.
func (b *bench) idle(ctx context.Context) error {
	var base *resting
	for _, files := range []int{10, 100, 1000, 10_000} {
		name := fmt.Sprintf("idle-%d", files)
		if !b.chooses(name) {
			continue
		}
		if base == nil {
			nothing, err := b.rest(ctx, peer{name: "no receiver"}, &data{line: 200})
			if err != nil {
				return fmt.Errorf("idle: %w", err)
			}
			base = &nothing
			b.report.Base = nothing
			b.say("%-12s %-20s %.3f %% of a core, %d MB", "idle", base.Peer, 100*base.Share, base.RSS>>20)
		}
		for _, peer := range []string{fileLog, fileLog + ", skip", fileTail} {
			if !b.wants(peer) {
				continue
			}
			r, err := b.rest(ctx, b.peers[peer], &data{files: files, line: 200})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.note("%s, %s: %v", name, peer, err)
				continue
			}
			r.Share -= base.Share
			r.RSS -= base.RSS
			b.report.Idle = append(b.report.Idle, r)
			b.say("%-12s %-20s %.3f %% of a core (waited %.1f %%), %d MB more than without files", name, peer, 100*r.Share, 100*r.Waited, r.RSS>>20)
		}
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}

// rest lets a peer read one line of every file, leaves it alone, and looks at what it costs from then on.
func (b *bench) rest(ctx context.Context, p peer, d *data) (resting, error) {
	r, err := newRun(b.dir, d)
	if err != nil {
		return resting{}, err
	}
	defer r.remove()
	if d.files > 0 {
		if err := d.write(r.seen, int64(d.files)*int64(d.line)); err != nil {
			return resting{}, err
		}
	}
	receiver := map[string]any{"nop": nil}
	if p.component != "" {
		receiver = p.receiver(d, r.live)
	}
	c, err := newCollector(b.binary, r.dir, pipeline{receiver: receiver, exporter: exporter(outputNop, "")})
	if err != nil {
		return resting{}, err
	}
	if err := c.start(ctx); err != nil {
		return resting{}, err
	}
	defer c.stop()
	limit, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, fmt.Errorf("not all of %d lines came", d.lines))
	defer cancel()
	if err := (collected{collector: c}).finished(limit, d.lines); err != nil {
		return resting{}, err
	}
	// Until what follows the reading is over: positions are stored, the next polls are done.
	if err := wait(ctx, 5*time.Second); err != nil {
		return resting{}, err
	}
	w, err := watch(ctx, c, b.wait)
	if err != nil {
		return resting{}, err
	}
	memory, err := memoryOf(c.pid())
	return resting{Peer: p.name, Files: d.files, watched: w, RSS: memory.now}, err
}

// watched is what a process took of the machine while it was watched.
type watched struct {
	Share  float64 // of one core
	Waited float64 // for a core, of the same time
}

// watch looks at what the collector takes from now on until pass has let the time pass.
func watch(ctx context.Context, c *collector, pass func(context.Context, *collector) error) (w watched, err error) {
	cpu, err := cpuOf(c.pid())
	if err != nil {
		return w, err
	}
	waited, err := waitedOf(c.pid())
	if err != nil {
		return w, err
	}
	start := time.Now()
	if err := pass(ctx, c); err != nil {
		return w, err
	}
	took := float64(time.Since(start))
	cpuAfter, err := cpuOf(c.pid())
	if err != nil {
		return w, err
	}
	waitedAfter, err := waitedOf(c.pid())
	return watched{float64(cpuAfter-cpu) / took, float64(waitedAfter-waited) / took}, err
}

// wait lets BENCH_SECONDS pass.
func (b *bench) wait(ctx context.Context, _ *collector) error { return wait(ctx, b.seconds) }
