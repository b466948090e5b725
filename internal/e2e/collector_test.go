//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// readyLimit is for a start on a loaded machine, not a promise to users.
const readyLimit = 30 * time.Second

// settings says how the collector is to be configured. The same settings, started again, go on from their positions.
type settings struct {
	// receivers by component id. Where one has `storage: file_storage`, its positions are kept.
	receivers map[string]any
	// endpoint of the OTLP server.
	endpoint string
	// sink is where the lines of a capture come out in the end; nil is one of its own.
	sink *sink
	// env is added to the environment.
	env   []string
	gates string // feature gates to switch on
	// shipped is a file of testdata/config to run instead; the settings are put on top of it.
	shipped string
	// more is put on top of all that, as far as keys of the top level: what is in it replaces what was there.
	more map[string]any
}

// collector is the distribution as a process of its own, from one folder: configuration, positions, log.
type collector struct {
	t      *testing.T
	dir    string
	health string
	pprof  string
	env    []string
	gates  string
	binary string
	base   string // a configuration that ours is put on top of; empty is none

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	http *http.Client
}

func newCollector(t *testing.T, s settings) *collector {
	t.Helper()
	c := &collector{
		t: t, dir: t.TempDir(), health: freeAddr(t), pprof: freeAddr(t), env: s.env, gates: s.gates, binary: distribution(t),
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}},
	}
	if err := os.Mkdir(c.path("positions"), 0o700); err != nil {
		t.Fatal(err)
	}
	if s.shipped != "" {
		c.base = filepath.Join("../../testdata/config", s.shipped)
	}
	content, err := yaml.Marshal(c.config(s))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path("config.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.running() {
			c.kill()
		}
		c.http.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the collector's log:\n%s", c.logTail())
		}
	})
	return c
}

func (c *collector) config(s settings) map[string]any {
	names := make([]string, 0, len(s.receivers))
	for name := range s.receivers {
		names = append(names, name)
	}
	slices.Sort(names)
	if s.shipped != "" {
		return c.overlay(s)
	}
	config := map[string]any{
		"extensions": map[string]any{
			"health_check": map[string]any{"endpoint": c.health},
			"pprof":        map[string]any{"endpoint": c.pprof},
			"file_storage": map[string]any{"directory": c.path("positions")},
		},
		"receivers": s.receivers,
		"exporters": map[string]any{
			// No queue and no retry of its own: each answer of the sink reaches the receiver.
			"otlp_grpc": map[string]any{
				"endpoint":         s.endpoint,
				"tls":              map[string]any{"insecure": true},
				"timeout":          "30s",
				"sending_queue":    map[string]any{"enabled": false},
				"retry_on_failure": map[string]any{"enabled": false},
			},
		},
		"service": map[string]any{
			"extensions": []string{"health_check", "pprof", "file_storage"},
			"pipelines":  map[string]any{"logs": map[string]any{"receivers": names, "exporters": []string{"otlp_grpc"}}},
			"telemetry":  map[string]any{"metrics": map[string]any{"level": "none"}},
		},
	}
	maps.Copy(config, s.more)
	return config
}

// overlay is what a shipped configuration needs to run in a test: places and ports. What it promises stays as it is.
func (c *collector) overlay(s settings) map[string]any {
	c.env = append([]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + s.endpoint, "LOGCAPTURE_BACKEND=http://" + s.endpoint,
		"LOGCAPTURE_STATE=" + c.path("positions"),
	}, s.env...)
	extensions := []string{"health_check", "pprof"}
	if s.receivers != nil { // a gateway keeps nothing
		extensions = append(extensions, "storage_check", "file_storage")
	}
	config := map[string]any{
		"extensions": map[string]any{
			"health_check": map[string]any{"endpoint": c.health},
			"pprof":        map[string]any{"endpoint": c.pprof},
		},
		"service": map[string]any{"extensions": extensions},
	}
	if s.receivers != nil {
		config["receivers"] = s.receivers
	}
	maps.Copy(config, s.more)
	return config
}

func (c *collector) path(name string) string { return filepath.Join(c.dir, name) }

// start starts the process and waits until its pipelines are up.
func (c *collector) start() {
	c.t.Helper()
	c.launch()
	c.waitReady(readyLimit)
}

// launch starts the process and does not wait.
func (c *collector) launch() {
	c.t.Helper()
	if c.running() {
		c.t.Fatal("the collector runs already")
	}
	log, err := os.OpenFile(c.path("log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	args := []string{"--config", c.path("config.yaml")}
	if c.base != "" {
		args = append([]string{"--config", c.base}, args...)
	}
	if c.gates != "" {
		args = append(args, "--feature-gates", c.gates)
	}
	c.cmd = exec.Command(c.binary, args...)
	c.cmd.Env = append(os.Environ(), c.env...)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that is killed leaves none behind
	if err := c.cmd.Start(); err != nil {
		c.t.Fatalf("start collector: %v", err)
	}
	c.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait()
	}(c.cmd, c.done)
}

func (c *collector) waitReady(limit time.Duration) {
	c.t.Helper()
	eventually(c.t, limit, "collector ready", func() string {
		if !c.running() {
			c.t.Fatalf("the collector ended with code %d", c.cmd.ProcessState.ExitCode())
		}
		return c.unhealthy()
	})
}

// unhealthy asks the health endpoint; empty means 200.
func (c *collector) unhealthy() string {
	_, err := c.get("http://" + c.health + "/")
	if err != nil {
		return err.Error()
	}
	return ""
}

func (c *collector) get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := c.http.Do(req)
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

func (c *collector) running() bool {
	if c.done == nil {
		return false
	}
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *collector) pid() int { return c.cmd.Process.Pid }

// stop sends SIGTERM, as a service does, and asks for a clean end within the limit.
func (c *collector) stop(limit time.Duration) {
	c.t.Helper()
	c.signal(syscall.SIGTERM)
	if code := c.wait(limit); code != 0 {
		c.t.Fatalf("the collector ended with code %d after SIGTERM, want 0", code)
	}
}

// kill sends SIGKILL.
func (c *collector) kill() {
	c.t.Helper()
	c.signal(syscall.SIGKILL)
	c.wait(10 * time.Second)
}

func (c *collector) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatalf("signal collector: %v", err)
	}
}

// wait returns the exit code. A process that does not end in time is killed, and shows what it was doing.
func (c *collector) wait(limit time.Duration) int {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(limit):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT) // the Go runtime prints all stacks
		select {
		case <-c.done:
		case <-time.After(5 * time.Second):
			_ = c.cmd.Process.Kill()
			<-c.done
		}
		c.t.Fatalf("the collector has not ended after %v", limit)
	}
	return c.cmd.ProcessState.ExitCode()
}

func (c *collector) logTail() string {
	content := c.log()
	return content[max(0, len(content)-6_000):]
}

// log returns all that the process, and those before it, have said.
func (c *collector) log() string {
	content, err := os.ReadFile(c.path("log"))
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// loopback returns an address of this machine that nothing else uses: connections to it come from 127.0.0.1, so that none is ever
// given one of its ports, and what has listened there can do so again.
func loopback() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// freeAddr returns an address to listen at, again and again.
func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", loopback()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// once runs the binary to its end.
func once(t *testing.T, limit time.Duration, args ...string) (output string, code int, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, distribution(t), args...)
	out, err := cmd.CombinedOutput()
	took = time.Since(begin)
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: still running after %v\n%s", strings.Join(args, " "), limit, out)
	}
	return string(out), cmd.ProcessState.ExitCode(), took
}

// TestCollectorIsStartedSampledAndEnded is about the harness: what it reports is what the process does.
func TestCollectorIsStartedSampledAndEnded(t *testing.T) {
	sink := newSink(t)
	in := freeAddr(t)
	c := newCollector(t, settings{endpoint: sink.addr, receivers: map[string]any{
		"otlp": map[string]any{"protocols": map[string]any{"grpc": map[string]any{"endpoint": in}}},
	}})
	if problem := c.unhealthy(); problem == "" {
		t.Error("healthy before the start")
	}
	for i, end := range []func(){func() { c.stop(stopLimit) }, c.kill} {
		c.start()
		if err := export(t, in, "through"); err != nil {
			t.Fatal(err)
		}
		if got := len(sink.all()); got != i+1 {
			t.Errorf("the sink has %d records, want %d", got, i+1)
		}
		s := c.sample("/nowhere")
		if s.goroutines < 10 || s.fds < 5 || s.rss < 10<<20 || s.cpu == 0 || s.connections != 0 {
			t.Errorf("sample: %+v", s)
		}
		end()
		if c.running() || c.unhealthy() == "" {
			t.Error("still there after its end")
		}
	}
	sink.behave(behaviour{refuse: codes.Unavailable})
	c.start()
	if err := export(t, in, "refused"); status.Code(err) != codes.Unavailable || sink.refusals() != 1 {
		t.Errorf("the refusal did not come through in one piece: %v, refused %d", err, sink.refusals())
	}
}
