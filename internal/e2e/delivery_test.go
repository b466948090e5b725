//go:build linux

package e2e

import (
	"fmt"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/codes"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// capture is a collector over two containers and four files that are written to until end.
type capture struct {
	sink  *sink
	lines *checked
	col   *collector
	dir   string // of the files
	// receivers are the collector's settings of them.
	receivers map[string]any
	metrics   string // address of the collector's metrics
	running   []*dockertest.Container
	written   *writing
}

// newCapture has what the settings say beside the receivers, and its own sink where they name no endpoint.
func newCapture(t *testing.T, s settings) *capture {
	t.Helper()
	engine := ownEngine(t, dockertest.EngineSettings{})
	dir := t.TempDir()
	c := &capture{sink: s.sink, dir: dir}
	if c.sink == nil {
		c.sink = newSink(t)
	}
	c.lines = check(c.sink)
	if s.endpoint == "" {
		s.endpoint = c.sink.addr
	}
	c.receivers = map[string]any{
		"container_log": map[string]any{
			"endpoint": engine.Host(), "storage": "file_storage", "read_from": "${env:LOGCAPTURE_READ_FROM:-auto}",
		},
		"file_tail": map[string]any{
			"include": []string{dir + "/*.log*"}, "start_at": "beginning", "storage": "file_storage",
		},
	}
	s.receivers = c.receivers
	c.col, c.metrics = newMeteredCollector(t, s)
	c.col.start()
	for range 2 {
		c.running = append(c.running, dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: endless}))
	}
	writers := make([]fileWriter, 4)
	for i := range writers {
		writers[i] = fileWriter{dir: dir, name: string(rune('a' + i)), perSecond: 300, rotateEvery: 300}
	}
	c.written = background(t, writers)
	return c
}

// reconfigure gives the collector, which is down, other settings beside its receivers.
func (c *capture) reconfigure(t *testing.T, s settings) {
	t.Helper()
	s.receivers, s.endpoint = c.receivers, c.sink.addr
	content, err := yaml.Marshal(c.col.config(s))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.col.path("config.yaml"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// endless writes until SIGTERM.
var endless = []script.Step{
	script.Lines{Stream: script.Both, PerSecond: 200, Length: 100}, script.Wait{Signal: "TERM"},
}

// end ends all who write, waits until all is captured, and stops the collector.
func (c *capture) end(t *testing.T) {
	t.Helper()
	c.written.end(c.lines)
	expectLogs(t, c.lines, c.running)
	c.lines.complete(t, completionLimit)
	c.col.stop(stopLimit)
}

// expectLogs ends the containers and expects as many lines as the engine has.
func expectLogs(t *testing.T, lines *checked, running []*dockertest.Container) {
	t.Helper()
	for _, c := range running {
		c.Stop(10)
		last := map[string]int{}
		for _, e := range c.Logs() {
			stream, _, seq, _ := script.ParseLine(e.Text)
			last[stream] = max(last[stream], seq)
		}
		for stream, n := range last {
			lines.expect(c.Name+"/"+stream, n)
		}
	}
}

// metric adds up the series of a metric of the module that have the text in their labels.
func (c *capture) metric(t *testing.T, name, labels string) int {
	t.Helper()
	text, err := c.col.get("http://" + c.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return int(observation{metrics: ownMetrics(text)}.sum(name, labels))
}

// goesOn waits until the first container has written that many more lines, captured or not.
func (c *capture) goesOn(t *testing.T, more int) {
	t.Helper()
	want := len(c.running[0].Logs()) + more
	eventually(t, readyLimit, "lines of "+c.running[0].Name, func() string {
		if n := len(c.running[0].Logs()); n < want {
			return fmt.Sprintf("%d of %d", n, want)
		}
		return ""
	})
}

// TestTroubleAtTheEndpointCostsNothing: what the endpoint refuses is kept where it is and comes later, once.
func TestTroubleAtTheEndpointCostsNothing(t *testing.T) {
	for _, gates := range []string{"", "pdata.useProtoPooling"} { // of what was refused, the collector takes the memory back then
		t.Run("gates "+gates, func(t *testing.T) { troubleAtTheEndpoint(t, gates) })
	}
}

func troubleAtTheEndpoint(t *testing.T, gates string) {
	c := newCapture(t, settings{gates: gates})
	captured(t, c.lines, 500)
	for _, trouble := range []func(){
		func() { c.sink.behave(behaviour{refuse: codes.Unavailable}) },
		func() { c.sink.behave(behaviour{hang: true}) },
		func() { c.sink.stop() },
	} {
		trouble()
		c.goesOn(t, 300)
		c.sink.behave(behaviour{})
		if c.sink.server == nil {
			c.sink.start(t)
		}
		captured(t, c.lines, 500)
	}
	c.end(t)
	c.lines.exact(t)
	for _, one := range c.running {
		sameAsEngine(t, c.sink, one)
	}
}
