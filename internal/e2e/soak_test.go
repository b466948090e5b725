//go:build linux

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"
)

// soakSize is how much a soak does.
type soakSize struct {
	containers, files int
	// openFiles is the limit of files that are open at a time.
	openFiles int
	// length is for how long new rounds begin; there is one at least.
	length time.Duration
	// every is the time between two observations.
	every time.Duration
	// restarts, visitors and rotations are how many containers and files each kind of churn takes per round.
	restarts, visitors, rotations int
	containerRate, fileRate       float64 // lines per second, of each stream and of all files
	container, file               map[string]any
}

// shortSoak has short control periods, so that there are many of them in a minute.
var shortSoak = soakSize{
	containers: 8, files: 20, openFiles: 16, length: 40 * time.Second, every: 500 * time.Millisecond, restarts: 3, visitors: 2, rotations: 3, containerRate: 20, fileRate: 400,
	container: map[string]any{"resync_interval": "2s"},
	file:      map[string]any{"rotate_wait": "2s"},
}

// longSoak has the defaults of both receivers, but for a limit that 2,000 files do not keep to by themselves.
var longSoak = soakSize{
	containers: 50, files: 2000, openFiles: 1500, every: 5 * time.Second, restarts: 10, visitors: 4, rotations: 100, containerRate: 2, fileRate: 1000,
}

// soakReadFrom is the API by default: its streams are what can leak, and what cutting connections tries.
func soakReadFrom() string { return cmp.Or(os.Getenv("LOGCAPTURE_READ_FROM"), "api") }

// soakSettle is how long a settled state may take: connections that are idle are given up after half a minute.
const soakSettle = 2 * time.Minute

// soak is a collector over a harbour and a fleet.
type soak struct {
	t       *testing.T
	size    soakSize
	sink    *sink
	lines   *checked
	harbour *harbour
	fleet   *fleet
	col     *collector
	*observer
	base, full observation // settled: with nothing to follow, and with all
	rounds     []soakRound
	emptied    observation // settled, when all is gone again
}

// soakRound is one turn of all kinds of churn.
type soakRound struct {
	began, churned time.Duration
	after          observation // settled
}

// TestSoak does everything to the sources, the engine and the endpoint that happens to them in the field, again and again, and
// asks after each round for the same numbers of goroutines, file descriptors, connections and tasks as before the first, and at
// the end for every line once. LOGCAPTURE_SOAK=20m is the long form, with 50 containers and 2,000 files; LOGCAPTURE_READ_FROM=files reads
// the logs of the containers as files.
func TestSoak(t *testing.T) {
	size := shortSoak
	if length := os.Getenv("LOGCAPTURE_SOAK"); length != "" {
		size = longSoak
		var err error
		if size.length, err = time.ParseDuration(length); err != nil {
			t.Fatalf("LOGCAPTURE_SOAK: %v", err)
		}
	}
	s := newSoak(t, size)
	defer s.report()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(size.every, stop) })
	end := sync.OnceFunc(func() {
		close(stop)
		watching.Wait()
	})
	t.Cleanup(end)

	s.base = s.settle("with nothing to follow", nil, 0)
	s.fleet = newFleet(t, s.lines, s.root, size)
	s.harbour.run(size.containers)
	s.full = s.settle("with all containers and files", nil, size.containers)
	s.budget(s.full)
	for began := time.Now(); len(s.rounds) == 0 || time.Since(began) < size.length; {
		s.round()
	}
	s.fleet.stop()
	written := s.fleet.count() + s.harbour.finish()
	s.lines.complete(t, completionLimit)
	s.lines.exact(t)
	s.harbour.leave()
	s.fleet.remove()
	s.emptied = s.settle("when all is gone", &s.base, 0)
	end()
	s.col.stop(stopLimit)
	s.verdict()
	t.Logf("%d lines of containers that stayed and of files, each captured once", written)
}

func newSoak(t *testing.T, size soakSize) *soak {
	t.Helper()
	s := &soak{t: t, size: size, sink: newSink(t)}
	s.sink.forget = true
	s.lines = check(s.sink)
	s.harbour = newHarbour(t, s.lines, size.containerRate)
	root := t.TempDir()
	container := map[string]any{"endpoint": s.harbour.proxy.host(), "storage": "file_storage", "read_from": soakReadFrom()}
	file := map[string]any{"include": []string{root + "/**/*.log"}, "start_at": "beginning", "storage": "file_storage", "max_open_files": size.openFiles}
	for key, value := range size.container {
		container[key] = value
	}
	for key, value := range size.file {
		file[key] = value
	}
	set := settings{endpoint: s.sink.addr, receivers: map[string]any{"container_log": container, "file_tail": file}}
	col, metrics := newMeteredCollector(t, set)
	s.col = col
	s.observer = &observer{col: col, metrics: metrics, harbour: s.harbour, root: root, lines: s.lines, began: time.Now()}
	col.start()
	return s
}

// newMeteredCollector is newCollector with the collector's metrics at an address, and a health check that tells each component's status.
func newMeteredCollector(t *testing.T, s settings) (col *collector, metrics string) {
	t.Helper()
	col, metrics = newCollector(t, s), freeAddr(t)
	host, port, _ := cutPort(metrics)
	config := col.config(s)
	reader := map[string]any{"pull": map[string]any{"exporter": map[string]any{"prometheus": map[string]any{"host": host, "port": port}}}}
	config["service"].(map[string]any)["telemetry"] = map[string]any{
		"metrics": map[string]any{"level": "normal", "readers": []any{reader}},
	}
	content, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(col.path("config.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	start := fmt.Sprintf("#!/bin/sh\nexec %q --feature-gates=+extension.healthcheck.useComponentStatus \"$@\"\n", col.binary)
	col.binary = col.path("start")
	if err := os.WriteFile(col.binary, []byte(start), 0o700); err != nil {
		t.Fatal(err)
	}
	return col, metrics
}

func cutPort(addr string) (host string, port int, err error) {
	i := len(addr) - 1
	for i > 0 && addr[i] != ':' {
		i--
	}
	_, err = fmt.Sscan(addr[i+1:], &port)
	return addr[:i], port, err
}

// settle waits until an observation is as the reference; without one, until two in a row are the same.
func (s *soak) settle(when string, reference *observation, containers int) observation {
	s.t.Helper()
	var last observation
	eventually(s.t, soakSettle, "settled "+when, func() string {
		before := last
		if !s.harbour.proxy.events() {
			return "no event stream"
		}
		var err error
		if last, err = s.keep(); err != nil {
			return err.Error()
		}
		if reference != nil {
			before = *reference
		}
		if s.fleet != nil && reference == nil {
			files, dirs := int(last.sum("files_watched", "")), int(last.sum("discovery_mode", ""))
			if files != len(s.fleet.files) || dirs != len(s.fleet.dirs)+1 {
				return fmt.Sprintf("%d files and %d directories are watched, want %d and %d with the root", files, dirs, len(s.fleet.files), len(s.fleet.dirs)+1)
			}
		}
		if n := last.fds["log files"]; n > s.size.openFiles {
			return fmt.Sprintf("%d log files are open, at most %d are allowed", n, s.size.openFiles)
		}
		return last.away(before, containers)
	})
	// What a request or a batch holds at one moment is garbage at another: the least of some is what stays.
	for range 4 {
		if v, err := s.keep(); err == nil && v.heap < last.heap {
			last.heap = v.heap
		}
	}
	s.t.Logf("%5.0f s settled %s: %d goroutines, %d file descriptors, %d connections, heap %.1f MiB, %d lines", last.at.Seconds(), when,
		total(last.goroutines), total(last.fds), last.ours, mebi(last.heap), last.lines)
	return last
}

func mebi(bytes int) float64 { return float64(bytes) / (1 << 20) }

// round does one turn of all churn.
func (s *soak) round() {
	s.t.Helper()
	n := len(s.rounds)
	r := soakRound{began: time.Since(s.began)}
	second := int(s.size.fileRate)
	for _, c := range []struct {
		what string
		do   func()
	}{
		{"containers restarted", func() { s.harbour.restart(n, s.size.restarts) }},
		{"containers made and removed", func() { s.harbour.visit(n, s.size.visitors) }},
		{"files rotated, truncated, deleted, directories swapped", func() { s.fleet.churn(n, s.size.rotations) }},
		{"engine frozen", func() { s.harbour.freeze(func() { s.fleet.goesOn(4 * second) }) }},
		{"event stream cut", func() {
			if s.harbour.proxy.cut(true) == 0 {
				s.t.Error("there was no event stream to cut")
			}
			s.harbour.restart(n+1, 1) // in the gap
		}},
		{"all connections cut", func() { s.harbour.proxy.cut(false); s.harbour.flows(s.harbour.always) }},
		{"endpoint refuses", func() { s.sink.behave(behaviour{refuse: codes.Unavailable}); s.fleet.goesOn(4 * second) }},
		{"endpoint hangs", func() { s.sink.behave(behaviour{hang: true}); s.fleet.goesOn(4 * second) }},
		{"endpoint takes again", func() { s.sink.behave(behaviour{}); s.harbour.flows(s.harbour.always) }},
		{"engine killed", func() {
			s.harbour.engine.Kill()
			s.fleet.goesOn(2 * second)
			s.harbour.engine.Start()
			s.harbour.flows(s.harbour.always)
		}},
	} {
		began := time.Now()
		c.do()
		s.t.Logf("round %d: %s, %.1f s", n+1, c.what, time.Since(began).Seconds())
	}
	r.churned = time.Since(s.began)
	r.after = s.settle(fmt.Sprintf("after round %d", n+1), &s.full, s.size.containers)
	s.budget(r.after)
	s.rounds = append(s.rounds, r)
}

// budget holds a settled observation against what the design allows.
func (s *soak) budget(v observation) {
	s.t.Helper()
	const perConnection = 2
	for what, b := range map[string]struct{ is, most int }{
		"goroutines without those of connections": {
			total(v.goroutines) - perConnection*v.ours,
			total(s.base.goroutines) - perConnection*s.base.ours + (perContainer-perConnection)*s.size.containers,
		},
		"connections":      {v.ours, s.size.containers + 2},
		"log files open":   {v.fds["log files"], s.size.openFiles},
		"other open files": {total(v.fds) - v.fds["log files"], total(s.base.fds) + s.size.containers + 1},
	} {
		if b.is > b.most {
			s.t.Errorf("after %v: %d %s, at most %d are allowed", v.at, b.is, what, b.most)
		}
	}
}
