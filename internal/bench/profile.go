package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// profile runs file_tail once on each chosen shape (plain-1 by default; not idle files) and leaves CPU and heap profiles for `go tool pprof`.
func (b *bench) profile(ctx context.Context) error {
	if len(b.shapes) == 0 {
		b.shapes = []string{"plain-1"}
	}
	name := env("BENCH_PEER", fileTail)
	p, known := b.peers[name]
	if !known || p.floor != "" {
		return fmt.Errorf("BENCH_PEER must be a receiver, it is %q", name)
	}
	for _, s := range shapes() {
		if !b.chooses(s.name) {
			continue
		}
		if err := b.profiled(ctx, s, p); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, s := range streams() {
		if !b.chooses(s.name) {
			continue
		}
		f, err := b.flow(ctx, s, p, b.profileWhile(s.name+"-"+p.component))
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.say("%s: %.1f %% of a core while profiled", s.name, 100*f.Share)
	}
	return nil
}

// profileWhile takes a CPU profile in place of waiting.
func (b *bench) profileWhile(name string) func(context.Context, *collector) error {
	return func(ctx context.Context, c *collector) error {
		return b.fetch(ctx, c, b.cpuProfile(), name+".cpu.pprof")
	}
}

func (b *bench) cpuProfile() string { return fmt.Sprintf("profile?seconds=%d", b.seconds/time.Second) }

func (b *bench) profiled(ctx context.Context, s shape, p peer) error {
	prewritten := filepath.Join(b.dir, s.name)
	if err := os.Mkdir(prewritten, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(prewritten)
	if err := s.data.write(prewritten, s.times*b.size); err != nil {
		return err
	}
	r, err := newRun(b.dir, &s.data)
	if err != nil {
		return err
	}
	defer r.remove()
	subject, done, err := b.subject(s, p, r)
	if err != nil {
		return err
	}
	defer done()
	if err := subject.start(ctx); err != nil {
		return err
	}
	defer subject.stop()
	c := subject.(collected)
	cpu := make(chan error, 1)
	go func() {
		cpu <- b.fetch(ctx, c.collector, b.cpuProfile(), s.name+"-"+p.component+".cpu.pprof")
	}()
	// The profile has to be under way.
	if err := wait(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	f, err := measure(ctx, subject, s, func() error { return s.data.link(prewritten, r.seen) })
	if err != nil {
		return err
	}
	b.say("%s: %.0f records per CPU second while profiled, in %v", s.name, f.perCPUSecond(), f.Wall)
	if err := b.fetch(ctx, c.collector, "heap", s.name+"-"+p.component+".heap.pprof"); err != nil {
		return err
	}
	return <-cpu
}

func (b *bench) fetch(ctx context.Context, c *collector, what, name string) error {
	body, err := get(ctx, "http://"+c.pprof+"/debug/pprof/"+what)
	if err != nil {
		return err
	}
	name = filepath.Join(b.out, name)
	b.say("%s", name)
	return os.WriteFile(name, []byte(body), 0o644)
}
