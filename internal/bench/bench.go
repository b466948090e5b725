package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bench is one run of everything that was asked for.
type bench struct {
	settings
	peers  map[string]peer
	dir    string // for data and positions
	report report
}

func withBench(do func(*bench) error) error {
	s, err := settingsFromEnv()
	if err != nil {
		return err
	}
	dir, kind, err := s.workDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	b := &bench{settings: s, peers: peers(), dir: dir}
	b.report.head(s, kind)
	return do(b)
}

func (b *bench) run(ctx context.Context) error {
	for _, s := range shapes() {
		if !b.chooses(s.name) {
			continue
		}
		results, err := b.throughput(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// The others are worth having.
			b.note("%v", err)
			continue
		}
		b.report.Throughput = append(b.report.Throughput, measured{s, results})
		if err := b.save(); err != nil {
			return err
		}
	}
	err := errors.Join(b.idle(ctx), b.live(ctx), b.pins(ctx))
	return errors.Join(err, b.save())
}

func (b *bench) save() error {
	markdown := b.report.markdown(b.peers)
	if err := os.WriteFile(filepath.Join(b.out, "bench.md"), []byte(markdown), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "bench.svg"), []byte(b.report.plot()), 0o644); err != nil {
		return err
	}
	return b.report.raw(filepath.Join(b.out, "bench.json"))
}

func (b *bench) say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", values...)
}

// note is for the reader of the results, too.
func (b *bench) note(format string, values ...any) {
	b.say(format, values...)
	b.report.Notes = append(b.report.Notes, fmt.Sprintf(format, values...))
}
