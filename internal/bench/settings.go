package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings come from the environment, so that `make bench BENCH_RUNS=1` works.
type settings struct {
	binary  string        // BENCH_BIN: the collector that internal/bench/builder-config.yaml makes
	out     string        // BENCH_OUT: where the results go
	dir     string        // BENCH_DIR: where the data is written; by default tmpfs when that is large enough
	shapes  []string      // BENCH_SHAPES: names, or what stands before a dash in them; all by default
	only    []string      // BENCH_PEERS: names of peers, divided by semicolons; all by default
	runs    int           // BENCH_RUNS: rounds of every shape that is measured by throughput
	size    int64         // BENCH_SIZE: bytes of text per shape, or a part of that
	seconds time.Duration // BENCH_SECONDS: how long idle and live shapes are watched
}

func settingsFromEnv() (settings, error) {
	s := settings{
		binary: env("BENCH_BIN", ".build/bench/dist/otelcol-bench"),
		out:    env("BENCH_OUT", ".build/bench/out"),
		dir:    os.Getenv("BENCH_DIR"),
	}
	for name := range strings.FieldsFuncSeq(os.Getenv("BENCH_SHAPES"), func(r rune) bool { return r == ',' || r == ' ' }) {
		s.shapes = append(s.shapes, name)
	}
	for name := range strings.SplitSeq(os.Getenv("BENCH_PEERS"), ";") {
		if name = strings.TrimSpace(name); name != "" {
			s.only = append(s.only, name)
		}
	}
	var err error
	if s.runs, err = strconv.Atoi(env("BENCH_RUNS", "5")); err != nil || s.runs < 1 {
		return s, fmt.Errorf("BENCH_RUNS must be a number from 1 on, it is %q", os.Getenv("BENCH_RUNS"))
	}
	if s.size, err = parseSize(env("BENCH_SIZE", "256MiB")); err != nil {
		return s, fmt.Errorf("BENCH_SIZE: %w", err)
	}
	seconds, err := strconv.Atoi(env("BENCH_SECONDS", "20"))
	if err != nil || seconds < 1 {
		return s, fmt.Errorf("BENCH_SECONDS must be a number from 1 on, it is %q", os.Getenv("BENCH_SECONDS"))
	}
	s.seconds = time.Duration(seconds) * time.Second
	if s.binary, err = filepath.Abs(s.binary); err != nil {
		return s, err
	}
	if _, err := os.Stat(s.binary); err != nil {
		return s, fmt.Errorf("no collector to measure, `make bench` builds it: %w", err)
	}
	return s, nil
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func parseSize(text string) (int64, error) {
	for suffix, unit := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if number, found := strings.CutSuffix(text, suffix); found {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil || n < 1 {
				break
			}
			return n * unit, nil
		}
	}
	return 0, fmt.Errorf("%q is no size such as 32MiB or 1GiB", text)
}

// chooses says whether a shape is to be run.
func (s settings) chooses(name string) bool {
	if len(s.shapes) == 0 {
		return true
	}
	for _, wanted := range s.shapes {
		if name == wanted || strings.HasPrefix(name, wanted+"-") {
			return true
		}
	}
	return false
}

// wants says whether a peer is to be run.
func (s settings) wants(name string) bool { return len(s.only) == 0 || slices.Contains(s.only, name) }

// workDir makes the folder for data and positions: in memory where there is room, so that no disk is measured.
func (s settings) workDir() (dir, kind string, err error) {
	parent, kind := s.dir, "BENCH_DIR"
	if parent == "" {
		parent, kind = os.TempDir(), "disk"
		var shm syscall.Statfs_t
		if err := syscall.Statfs("/dev/shm", &shm); err == nil && int64(shm.Bavail)*shm.Bsize > (mostTimes+1)*s.size+1<<30 {
			parent, kind = "/dev/shm", "tmpfs"
		}
	}
	dir, err = os.MkdirTemp(parent, "bench-")
	return dir, kind + " " + parent, err
}
