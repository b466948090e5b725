//go:build linux

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// reloads is how often a configuration is taken again while all write.
const reloads = 10

// TestReloadUnderLoad: SIGHUP makes the collector shut its receivers down and start new ones in the same process, while
// containers and files are being written. Every line comes once, and what the process uses does not grow.
func TestReloadUnderLoad(t *testing.T) {
	const count = 6000
	size := soakSize{files: 20, openFiles: 1000, fileRate: 1000}
	size.container, size.file = shortSoak.container, shortSoak.file
	s := newSoak(t, size)
	s.base = s.settle("with nothing to follow", nil, 0)
	fleet := newFleet(t, s.lines, s.root, size)
	var running []*dockertest.Container
	for i := range 4 {
		c := dockertest.Run(t, dockertest.Spec{
			Name: fmt.Sprintf("reload-%d", i), Client: s.harbour.engine.Client(),
			Steps: []script.Step{script.Lines{Stream: script.Both, Count: count, PerSecond: 200, Length: 60}, script.Wait{Signal: "TERM"}},
		})
		s.lines.expectContainer(c.Name, count)
		running = append(running, c)
	}
	path := s.col.path("config.yaml")
	for i := range reloads {
		captured(t, s.lines, 2000)
		if err := changeMark(path, i); err != nil {
			t.Fatal(err)
		}
		s.col.signal(syscall.SIGHUP)
		eventually(t, readyLimit, "reload", func() string {
			if !s.col.running() {
				t.Fatal("the collector has ended")
			}
			if id := serviceID(s); id != mark(i) {
				return "runs as " + id
			}
			return ""
		})
	}
	fleet.stop()
	s.lines.complete(t, completionLimit)
	s.lines.exact(t)
	for _, c := range running {
		c.Remove()
	}
	fleet.remove()
	s.settle("when all is gone", &s.base, 0)
	s.col.stop(stopLimit)
	t.Logf("%d lines over %d reloads, each captured once", s.lines.count(), reloads)
}

func mark(reload int) string { return fmt.Sprintf("reload-%d", reload) }

// changeMark writes another id of the service into the configuration: the metrics of the new one show that it runs.
func changeMark(path string, reload int) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := yaml.Unmarshal(content, &config); err != nil {
		return err
	}
	config["service"].(map[string]any)["telemetry"].(map[string]any)["resource"] = map[string]any{
		"service.instance.id": mark(reload),
	}
	if content, err = yaml.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}

// serviceID returns the id of the service that answers; empty while none does.
func serviceID(s *soak) string {
	text, err := s.col.get("http://" + s.metrics + "/metrics")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(text, `service_instance_id="`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}
