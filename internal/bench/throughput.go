package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shape is prewritten data, read as fast as a peer can, and an output.
type shape struct {
	name   string
	title  string
	data   data
	output string
	peers  []string
	times  int64 // how often BENCH_SIZE it has, so that a run takes a second or more
}

// mostTimes is the largest of them.
const mostTimes = 8

// shapes that are measured by throughput.
func shapes() []shape {
	ways := []string{fileLog, fileTail, fileTail + ", resource"}
	again := []string{fileLog + pooled, fileTail + pooled, fileTail + ", resource" + pooled}
	withPod := slices.Concat(ways, again, []string{fileLog + ", no pod"})
	withFloor := slices.Concat(ways, again, []string{floorRecord, floorResource})
	cores := []string{fileTail + oneCore, fileTail + twoCores, floorRecord, floorRecord + twoCores}
	plain := data{files: 1, line: 200}
	hundred := data{files: 100, line: 200}
	cri, docker := data{format: formatCRI, files: 1, line: 200}, data{format: formatDocker, files: 1, line: 200}
	object := data{format: formatJSON, files: 1, line: 200}
	return []shape{
		{"plain-1", "plain 200 B, 1 file, dropped", plain, outputNop, withFloor, mostTimes},
		{"plain-100", "plain 200 B, 100 files, dropped", hundred, outputNop, withFloor, mostTimes},
		{"plain-1k", "plain 1 KiB, 1 file, dropped", data{files: 1, line: 1 << 10}, outputNop, withFloor, mostTimes},
		{"cri", "CRI, 200 B of text, dropped", cri, outputNop, withPod, 2},
		{"docker", "docker json-file, 200 B of text, dropped", docker, outputNop, withPod, 2},
		{"json", "CRI, 200 B of JSON parsed, dropped", object, outputNop, slices.Concat(ways, []string{fileLog + ", transform"}), 1},
		{"otlp-plain", "plain 200 B, OTLP", plain, outputOTLP, ways, 2},
		{"otlp-cri", "CRI, OTLP", cri, outputOTLP, ways, 1},
		{"otlp-docker", "docker json-file, OTLP", docker, outputOTLP, ways, 1},
		{"otlp-json", "CRI, JSON parsed, OTLP", object, outputOTLP, ways, 1},
		{"gzip-plain", "plain 200 B, OTLP with gzip", plain, outputGzip, ways, 1},
		{"gzip-cri", "CRI, OTLP with gzip", cri, outputGzip, ways, 1},
		{"gzip-docker", "docker json-file, OTLP with gzip", docker, outputGzip, ways, 1},
		{"gzip-json", "CRI, JSON parsed, OTLP with gzip", object, outputGzip, ways, 1},
		{"files-10", "plain 200 B, 10 files, dropped", data{files: 10, line: 200}, outputNop, ways[:2], 1},
		{"files-100", "plain 200 B, 100 files, dropped", hundred, outputNop, ways[:2], 1},
		{"files-1000", "plain 200 B, 1,000 files, dropped", data{files: 1000, line: 200}, outputNop, ways[:2], 1},
		{"files-10000", "plain 200 B, 10,000 files, dropped", data{files: 10_000, line: 200}, outputNop, ways[:2], 1},
		{"cores", "plain 200 B, 100 files, dropped, by cores", hundred, outputNop, cores, mostTimes},
	}
}

// figures are what one run of a peer showed.
type figures struct {
	Records   int64
	Bytes     int64 // on disk
	Wall, CPU time.Duration
	Mallocs   uint64
	PeakRSS   int64
	IdleRSS   int64 // before the first file
}

func (f figures) perCPUSecond() float64 { return float64(f.Records) / f.CPU.Seconds() }
func (f figures) megabytes() float64    { return float64(f.Bytes) / 1e6 / f.Wall.Seconds() }
func (f figures) allocations() float64  { return float64(f.Mallocs) / float64(f.Records) }

// throughput runs the peers of a shape in turn, and returns what each round showed, by peer.
func (b *bench) throughput(ctx context.Context, s shape) (map[string][]figures, error) {
	dir := filepath.Join(b.dir, s.name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := s.data.write(dir, s.times*b.size); err != nil {
		return nil, err
	}
	results := make(map[string][]figures)
	left := b.able(ctx, s)
	for round := range b.runs {
		for _, p := range left {
			f, err := b.once(ctx, s, p, dir)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, round %d: %w", s.name, p.name, round+1, err)
			}
			results[p.name] = append(results[p.name], f)
			b.say("%-12s round %d  %-20s %9.0f records per CPU second  %6.0f MB/s  %6.2f allocations  %4d MB", s.name, round+1, p.name,
				f.perCPUSecond(), f.megabytes(), f.allocations(), f.PeakRSS>>20)
		}
	}
	return results, nil
}

// able returns the peers that the collector can run. A key that a receiver does not have yet is a note, not an end.
func (b *bench) able(ctx context.Context, s shape) []peer {
	var able []peer
	for _, name := range s.peers {
		if !b.wants(name) {
			continue
		}
		p := b.peers[name]
		if err := b.validate(ctx, p, s); err != nil {
			lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
			b.note("%s: %s is left out: %s", s.name, name, lines[len(lines)-1])
			continue
		}
		able = append(able, p)
	}
	return able
}

func (b *bench) validate(ctx context.Context, p peer, s shape) error {
	if p.floor != "" {
		return nil
	}
	r, err := newRun(b.dir, &s.data)
	if err != nil {
		return err
	}
	defer r.remove()
	c, err := newCollector(b.binary, r.dir, p.pipeline(&s.data, r.live, exporter(s.output, "127.0.0.1:1")))
	if err != nil {
		return err
	}
	b.state(s, p, c)
	return c.validate(ctx)
}

// once runs one peer. What it costs to start is not counted: it is up before the files appear.
func (b *bench) once(ctx context.Context, s shape, p peer, prewritten string) (figures, error) {
	r, err := newRun(b.dir, &s.data)
	if err != nil {
		return figures{}, err
	}
	defer r.remove()
	subject, done, err := b.subject(s, p, r)
	if err != nil {
		return figures{}, err
	}
	defer done()
	if err := subject.start(ctx); err != nil {
		return figures{}, err
	}
	defer subject.stop()
	f, err := measure(ctx, subject, s, func() error { return s.data.link(prewritten, r.seen) })
	if c, ok := subject.(collected); ok && c.sink != nil && err == nil {
		err = b.seen(s, p, c.sink)
	}
	return f, err
}

func (b *bench) subject(s shape, p peer, r run) (subject, func(), error) {
	if p.floor != "" {
		return newFloored(p, r.seen), func() {}, nil
	}
	var receiving *sink
	address, done := "", func() {}
	if s.output != outputNop {
		var err error
		if receiving, err = newSink(); err != nil {
			return nil, nil, err
		}
		address, done = receiving.address, receiving.close
	}
	c, err := newCollector(b.binary, r.dir, p.pipeline(&s.data, r.live, exporter(s.output, address)))
	if err != nil {
		return nil, nil, err
	}
	c.env, c.gates = p.env, p.gates
	return collected{c, receiving}, done, nil
}

func measure(ctx context.Context, s subject, of shape, begin func() error) (figures, error) {
	limit, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, fmt.Errorf("not all of %d records came in 10 minutes", of.data.lines))
	defer cancel()
	f := figures{Bytes: of.data.bytes}
	mallocs, err := s.mallocs(ctx)
	if err != nil {
		return f, err
	}
	idle, err := memoryOf(s.pids()...)
	if err != nil {
		return f, err
	}
	cpu, err := cpuOf(s.pids()...)
	if err != nil {
		return f, err
	}
	start := time.Now()
	if err := begin(); err != nil {
		return f, err
	}
	if err := s.finished(limit, of.data.lines); err != nil {
		return f, err
	}
	f.Wall = time.Since(start)
	end, err := cpuOf(s.pids()...)
	if err != nil {
		return f, err
	}
	f.CPU, f.IdleRSS = end-cpu, idle.now
	err = f.after(ctx, s, mallocs, of.data.lines)
	return f, err
}

func (f *figures) after(ctx context.Context, s subject, mallocs uint64, want int64) error {
	now, err := s.mallocs(ctx)
	if err != nil {
		return err
	}
	peak, err := memoryOf(s.pids()...)
	if err != nil {
		return err
	}
	if f.Records, err = s.counted(ctx); err != nil {
		return err
	}
	if f.Records != want {
		return fmt.Errorf("%d records came, %d were written", f.Records, want)
	}
	f.Mallocs, f.PeakRSS = now-mallocs, peak.peak
	return nil
}
