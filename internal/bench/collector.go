package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
)

// collector is one process with one pipeline.
type collector struct {
	dir     string
	binary  string
	env     []string
	gates   string
	config  map[string]any
	health  string
	pprof   string
	metrics string

	cmd  *exec.Cmd
	done chan error
}

// pipeline is what differs between collectors.
type pipeline struct {
	receiver  map[string]any // by id
	processor map[string]any
	exporter  map[string]any
}

func newCollector(binary, dir string, p pipeline) (*collector, error) {
	c := &collector{dir: dir, binary: binary, done: make(chan error, 1)}
	for _, address := range []*string{&c.health, &c.pprof, &c.metrics} {
		var err error
		if *address, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "positions"), 0o700); err != nil {
		return nil, err
	}
	c.config = c.configuration(p)
	content, err := yaml.Marshal(c.config)
	if err != nil {
		return nil, err
	}
	return c, os.WriteFile(c.path("config.yaml"), content, 0o600)
}

// configuration is the same for every receiver but for the receiver.
func (c *collector) configuration(p pipeline) map[string]any {
	host, port, _ := net.SplitHostPort(c.metrics)
	number, _ := strconv.Atoi(port)
	logs := map[string]any{"receivers": keys(p.receiver), "exporters": keys(p.exporter)}
	if p.processor != nil {
		logs["processors"] = keys(p.processor)
	}
	config := map[string]any{
		"extensions": map[string]any{
			"health_check": map[string]any{"endpoint": c.health},
			"pprof":        map[string]any{"endpoint": c.pprof},
			"file_storage": map[string]any{"directory": c.path("positions")},
		},
		"receivers": p.receiver,
		"exporters": p.exporter,
		"service": map[string]any{
			"extensions": []string{"health_check", "pprof", "file_storage"},
			"pipelines":  map[string]any{"logs": logs},
			"telemetry": map[string]any{
				"logs": map[string]any{"level": "warn"},
				"metrics": map[string]any{"level": "basic", "readers": []any{
					map[string]any{"pull": map[string]any{"exporter": map[string]any{
						"prometheus": map[string]any{"host": host, "port": number},
					}}},
				}},
			},
		},
	}
	if p.processor != nil {
		config["processors"] = p.processor
	}
	return config
}

func keys(m map[string]any) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	return names
}

func (c *collector) path(name string) string { return filepath.Join(c.dir, name) }

// validate says whether the collector knows what the configuration asks for.
func (c *collector) validate(ctx context.Context) error {
	output, err := exec.CommandContext(ctx, c.binary, "validate", "--config", "file:"+c.path("config.yaml")).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(string(output)))
	}
	return nil
}

// start starts the process and waits until its pipeline is up.
func (c *collector) start(ctx context.Context) error {
	log, err := os.Create(c.path("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{"--config", "file:" + c.path("config.yaml")}
	if c.gates != "" {
		args = append(args, "--feature-gates="+c.gates)
	}
	c.cmd = exec.CommandContext(ctx, c.binary, args...)
	c.cmd.Env = append(os.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return err
	}
	go func() { c.done <- c.cmd.Wait() }()
	limit, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	return poll(limit, 20*time.Millisecond, func() (bool, error) {
		select {
		case err := <-c.done:
			c.done <- err
			return false, fmt.Errorf("the collector ended: %w\n%s", err, c.log())
		default:
		}
		_, err := get(ctx, "http://"+c.health)
		return err == nil, nil
	})
}

// stop ends the process as a service would. A collector that cannot end is killed: it is not measured here how fast it ends.
func (c *collector) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(15 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

func (c *collector) pid() int { return c.cmd.Process.Pid }

func (c *collector) log() string {
	content, _ := os.ReadFile(c.path("log"))
	return string(content[max(0, len(content)-4000):])
}

// accepted is how many records the pipeline has taken from the receiver, as the collector counts them.
func (c *collector) accepted(ctx context.Context) (int64, error) {
	body, err := get(ctx, "http://"+c.metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "otelcol_receiver_accepted_log_records") {
			fields := strings.Fields(line)
			value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				return 0, err
			}
			sum += value
		}
	}
	return int64(sum), nil
}

// heap is what the Go runtime of the process says, after a garbage collection if asked for.
type heap struct{ mallocs, inUse uint64 }

func (c *collector) heap(ctx context.Context, collect bool) (heap, error) {
	url := "http://" + c.pprof + "/debug/pprof/heap?debug=1"
	if collect {
		url += "&gc=1"
	}
	body, err := get(ctx, url)
	if err != nil {
		return heap{}, err
	}
	var h heap
	for line := range strings.Lines(body) {
		if value, found := strings.CutPrefix(line, "# Mallocs = "); found {
			h.mallocs, err = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
		if value, found := strings.CutPrefix(line, "# HeapAlloc = "); found {
			h.inUse, err = strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	return string(body), err
}

// freeAddress returns an address to listen at, on a loopback address of its own: connections come from 127.0.0.1, so none is given its port.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// poll asks again and again until the answer is yes.
func poll(ctx context.Context, interval time.Duration, ask func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		yes, err := ask()
		if yes || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// wait waits without asking anything.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
