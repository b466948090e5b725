//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// TestZeroConfigurationFollowsAllContainers uses the machine's own engine: containers that run already, that start
// later, that start again with the same id, with and without a TTY. Other tests' containers run at the same time.
func TestZeroConfigurationFollowsAllContainers(t *testing.T) {
	prefix := dockertest.Unique("e2e-zero")
	dockertest.Client(t)
	sink := newSink(t)
	sink.keep = func(resource map[string]any) bool {
		name, _ := resource["container.name"].(string)
		return strings.HasPrefix(name, prefix)
	}
	ten := []script.Step{script.Lines{Stream: script.Both, Count: 10}, script.Wait{Signal: "TERM"}}
	run := func(name string, spec dockertest.Spec) *dockertest.Container {
		spec.Name, spec.Steps = prefix+name, ten
		return dockertest.Run(t, spec)
	}
	early := run("-early", dockertest.Spec{})
	tty := run("-tty", dockertest.Spec{TTY: true})
	all := []*dockertest.Container{early, tty}
	for _, c := range all {
		engineHas(t, c, 20)
	}
	col := newCollector(t, settings{endpoint: sink.addr, receivers: map[string]any{"container_log": map[string]any{}}})
	col.start()
	arrived(t, sink, all)
	all = append(all, run("-late", dockertest.Spec{}), run("-late-tty", dockertest.Spec{TTY: true}))
	arrived(t, sink, all)
	for _, c := range all {
		c.Restart(10)
	}
	for _, c := range all {
		engineHas(t, c, 40)
	}
	arrived(t, sink, all)
	col.stop(stopLimit)
	for _, c := range all {
		sameAsEngine(t, sink, c)
	}
}

// arrived waits until the sink has as many lines as the engine, of each container.
func arrived(t *testing.T, s *sink, all []*dockertest.Container) {
	t.Helper()
	for _, c := range all {
		eventually(t, readyLimit, "lines of "+c.Name, func() string {
			got, want := s.where(func(r record) bool { return r.resource["container.id"] == c.ID }), c.Logs()
			if len(want) > 0 && len(got) >= len(want) {
				return ""
			}
			return "not all"
		})
	}
}

// TestCollectorDoesNotCaptureItself: its own log would be captured, written to its own log, captured again.
func TestCollectorDoesNotCaptureItself(t *testing.T) {
	cli := dockertest.Client(t)
	socket, ok := strings.CutPrefix(cli.DaemonHost(), "unix://")
	if !ok {
		dockertest.Unavailable(t, "the engine at %s has no socket to mount", cli.DaemonHost())
	}
	dir := t.TempDir()
	config := `
receivers: {container_log: {}}
exporters:
  file: {path: /shared/out.json, flush_interval: 100ms}
  debug: {verbosity: detailed}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [container_log], exporters: [file, debug]}}
`
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	bin := distribution(t)
	self := dockertest.Run(t, dockertest.Spec{
		Name: dockertest.Unique("e2e-self"),
		Adjust: func(c *container.Config, h *container.HostConfig) {
			c.Entrypoint, c.Cmd = []string{"/otelcol"}, []string{"--config", "/shared/config.yaml"}
			c.Hostname = "not-the-id"
			h.Binds = []string{bin + ":/otelcol:ro", socket + ":/var/run/docker.sock", dir + ":/shared"}
		},
	})
	other := dockertest.Run(t, dockertest.Spec{
		Name: dockertest.Unique("e2e-other"), Steps: []script.Step{script.Lines{Count: 1000}, script.Wait{Signal: "TERM"}},
	})
	count := func() map[string]int {
		t.Helper()
		if state := self.Inspect().State; !state.Running {
			t.Fatalf("the collector ended with code %d: %v", state.ExitCode, self.Logs())
		}
		return recordsByContainer(t, filepath.Join(dir, "out.json"))
	}
	eventually(t, completionLimit, "lines of the other container", func() string {
		if count()[other.ID] >= 1000 {
			return ""
		}
		return "not all"
	})
	// Its own log holds the other's thousand lines by now; one more turn of lines would carry them back.
	eventually(t, readyLimit, "log of the collector", func() string {
		if n := len(self.Logs()); n < 1000 {
			return fmt.Sprintf("%d lines", n)
		}
		return ""
	})
	other.Restart(10)
	eventually(t, completionLimit, "lines of the other container", func() string {
		if count()[other.ID] >= 2000 {
			return ""
		}
		return "not all"
	})
	self.Stop(10)
	got := recordsByContainer(t, filepath.Join(dir, "out.json"))
	if got[self.ID] != 0 {
		t.Errorf("the collector captured %d records of its own", got[self.ID])
	}
	if got[other.ID] != 2000 {
		t.Errorf("got %d records of the other container, want 2000", got[other.ID])
	}
}

// recordsByContainer counts the records in a file of the file exporter.
func recordsByContainer(t *testing.T, path string) map[string]int {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(content)) {
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		logs, err := (&plog.JSONUnmarshaler{}).UnmarshalLogs([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range logs.ResourceLogs().All() {
			id, _ := resource.Resource().Attributes().AsRaw()["container.id"].(string) // files have none
			for _, scope := range resource.ScopeLogs().All() {
				counts[id] += scope.LogRecords().Len()
			}
		}
	}
	return counts
}
