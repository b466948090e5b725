//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// idleConnections is how many the receiver keeps for the next request, at most and for half a minute.
const idleConnections = 6

// TestGaugesGoToZeroAndLeaveNoSeriesBehind: the module's own metrics as a Prometheus sees them, with sources and after them. None
// has the name or the id of a container or a file in its labels, so their number does not depend on what came and went.
func TestGaugesGoToZeroAndLeaveNoSeriesBehind(t *testing.T) {
	size := soakSize{files: 12, openFiles: 100, fileRate: 200}
	size.container, size.file = shortSoak.container, shortSoak.file
	s := newSoak(t, size)
	gauges := func() map[string]float64 {
		text, err := s.col.get("http://" + s.metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		return ownMetrics(text)
	}
	// What is there for the sources; the other gauges are of the moment. Connections that are idle go one by one.
	want := func(containers, files, idle float64) {
		t.Helper()
		eventually(t, soakSettle, fmt.Sprintf("gauges of %v containers and %v files", containers, files), func() string {
			v := observation{metrics: gauges()}
			var wrong []string
			for _, g := range []struct {
				is    float64
				what  string
				least float64
				most  float64
			}{
				{v.sum("containers_followed", ""), "containers followed", containers, containers},
				{v.sum("container_modes", ""), "containers by mode", containers, containers},
				{v.sum("tasks", `kind="stream"`), "tasks of streams", containers, containers},
				{v.sum("tasks", `kind="inspect"`), "tasks of inspections", 0, 0},
				{v.sum("daemon_connections", ""), "connections", containers + 1, containers + 1 + idle},
				{v.sum("files_watched", ""), "files watched", files, files},
				{v.sum("files_open", ""), "files open", files, files},
			} {
				if g.is < g.least || g.is > g.most {
					wrong = append(wrong, fmt.Sprintf("%v %s", g.is, g.what))
				}
			}
			if containers == 0 && files == 0 && v.sum("inflight_bytes", "") != 0 {
				wrong = append(wrong, "bytes in flight")
			}
			return strings.Join(wrong, ", ")
		})
	}
	want(0, 0, 1)
	before := gauges()
	var names []string
	for round := range 2 {
		// A fleet of another round has other names: its last one is gone.
		fleet := newFleet(t, s.lines, s.root, size)
		var some []*dockertest.Container
		for i := range 4 {
			c := dockertest.Run(t, dockertest.Spec{
				Name: fmt.Sprintf("gauge-%d-%d", round, i), Client: s.harbour.engine.Client(),
				Steps: []script.Step{script.Lines{Stream: script.Both, PerSecond: 20}, script.Wait{Signal: "TERM"}},
			})
			some = append(some, c)
			names = append(names, c.Name, c.ID, c.ID[:12])
		}
		want(4, float64(size.files), idleConnections)
		for _, c := range some {
			c.Remove()
		}
		fleet.stop()
		fleet.remove()
		want(0, 0, idleConnections)
	}
	want(0, 0, 1)
	after := gauges()
	for key := range after {
		for _, name := range append(names, "app-0") {
			if strings.Contains(key, name) {
				t.Errorf("%s names what is gone", key)
			}
		}
	}
	// Counters begin with their first event; gauges are there from the start on.
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[key]; !ok && slices.ContainsFunc(settledGauges, func(name string) bool { return strings.HasPrefix(key, name) }) {
			t.Errorf("%s stays behind", key)
		}
	}
	s.col.stop(stopLimit)
}
