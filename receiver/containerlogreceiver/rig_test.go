package containerlogreceiver

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

// rig is a receiver under test, with what stands around it. It can be stopped and started again; what it got stays.
type rig struct {
	t        *testing.T
	host     *capturetest.Host
	id       string // of the receiver, behind its type
	config   *Config
	consumer capturetest.Consumer
	next     consumer.Logs // nil: that one

	receiver  receiver.Logs
	telemetry *componenttest.Telemetry
	logs      *observer.ObservedLogs // what it says
}

// prefix begins the names of all containers of this run of the tests.
var prefix = dockertest.Unique("ctr")

// prefixFor begins those of a test: its receivers follow no others, since tests run at the same time on one engine.
func prefixFor(t *testing.T) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(t.Name()))
	return fmt.Sprintf("%s-%08x", prefix, hash.Sum32())
}

func name(t *testing.T) string { return dockertest.Unique(prefixFor(t)) }

// newRig prepares a receiver with a file storage and the given changes to its configuration.
func newRig(t *testing.T, adjust func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, host: capturetest.NewHost(t, t.TempDir()), config: createDefaultConfig().(*Config)}
	r.config.Storage = &capturetest.StorageID
	r.config.ReadFrom = modeOf(t)
	if adjust != nil {
		adjust(r.config)
	}
	if r.config.Endpoint == "" {
		r.config.Include.Names = []string{prefixFor(t) + "-*"}
	}
	require.NoError(t, r.config.Validate())
	return r
}

// start starts a new instance, as a new process of the collector does.
func (r *rig) start() {
	r.t.Helper()
	r.telemetry = componenttest.NewTelemetry()
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.ID = component.NewIDWithName(metadata.Type, r.id) // positions belong to the id
	settings.TelemetrySettings = r.telemetry.NewTelemetrySettings()
	var core zapcore.Core
	core, r.logs = observer.New(zapcore.InfoLevel)
	settings.Logger = zap.New(core)
	next := r.next
	if next == nil {
		next = &r.consumer
	}
	var err error
	r.receiver, err = NewFactory().CreateLogs(r.t.Context(), settings, r.config, next)
	require.NoError(r.t, err)
	require.NoError(r.t, r.receiver.Start(r.t.Context(), r.host))
	running := r.receiver
	r.t.Cleanup(func() { _ = running.Shutdown(context.WithoutCancel(r.t.Context())) })
}

// stop ends the instance cleanly.
func (r *rig) stop() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 10*time.Second)
	defer cancel()
	require.NoError(r.t, r.receiver.Shutdown(ctx))
	require.NoError(r.t, r.telemetry.Shutdown(ctx))
}

// gapOf returns the stamps between which a gap record says that lines are lost.
func gapOf(t *testing.T, record capturetest.Record) (from, to string) {
	t.Helper()
	attributes := record.Log.Attributes()
	first, ok := attributes.Get("log.gap.from")
	require.True(t, ok)
	last, ok := attributes.Get("log.gap.to")
	require.True(t, ok)
	return first.Str(), last.Str()
}

// records returns what came of a container, in order.
func (r *rig) records(id string) (records []capturetest.Record) {
	for _, record := range r.consumer.Records() {
		if record.Resource["container.id"] == id {
			records = append(records, record)
		}
	}
	return records
}

// lines returns what came as the engine's record is written.
func (r *rig) lines(id string) (lines []string) {
	for _, record := range r.records(id) {
		stream, _ := record.Log.Attributes().Get("log.iostream")
		lines = append(lines, describeLine(record.Log.Timestamp().AsTime(), stream.Str(), record.Body))
	}
	return lines
}

func describeLine(at time.Time, stream, text string) string {
	return fmt.Sprintf("%s %s %s", at.UTC().Format(time.RFC3339Nano), stream, text)
}

// engineLines returns what the engine has of a container.
func engineLines(c *dockertest.Container) (lines []string) {
	for _, entry := range c.Logs() {
		lines = append(lines, describeLine(entry.Stamp, entry.Stream, entry.Text))
	}
	return lines
}

// awaitLines waits until n lines of a container have come.
func (r *rig) awaitLines(id string, n int) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for r.consumer.Len() < n || len(r.records(id)) < n { // the second takes long where there are many
		if time.Now().After(deadline) {
			r.t.Fatalf("%d lines of %.12s have come in %s, want %d; gaps told: %d", len(r.records(id)), id, patience, n, r.metric("logcapture_gaps"))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// open says that the log of a container is being followed now.
func (r *rig) open(id string) bool {
	c := r.receiver.(*containerLog).follower.get(id)
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream != nil && c.stream.active.Load() > 0
}

// requireExact waits until all that the engine has of a container has come, and fails when it is not exactly that, stream by stream and
// in order.
func (r *rig) requireExact(c *dockertest.Container) {
	r.t.Helper()
	want, got := engineLines(c), r.lines(c.ID)
	for deadline := time.Now().Add(patience); len(got) != len(want) && time.Now().Before(deadline); got = r.lines(c.ID) {
		if len(got) > len(want) {
			again := engineLines(c)
			if len(again) == len(want) {
				break
			}
			want = again // the container has written more meanwhile
		}
		time.Sleep(20 * time.Millisecond)
	}
	requireSame(r.t, want, got)
}

// requireSame compares lines by stream, and says little where much differs.
func requireSame(t *testing.T, want, got []string) {
	t.Helper()
	for _, stream := range []string{" stdout ", " stderr "} {
		w, g := of(want, stream), of(got, stream)
		for i := range min(len(w), len(g)) {
			if w[i] != g[i] {
				t.Fatalf("line %d of %d (got %d) of%sis %.120q, want %.120q", i+1, len(w), len(g), stream, g[i], w[i])
			}
		}
		require.Len(t, g, len(w), "lines of%s", stream)
	}
}

const stampWidth = len("2026-11-23T14:00:00.123456789Z stdout")

func of(lines []string, stream string) (found []string) {
	for _, line := range lines {
		if len(line) >= len(stream) && containsIn(line[:min(len(line), stampWidth+1)], stream) {
			found = append(found, line)
		}
	}
	return found
}

func containsIn(head, stream string) bool {
	for i := 0; i+len(stream) <= len(head); i++ {
		if head[i:i+len(stream)] == stream {
			return true
		}
	}
	return false
}

// metric returns the value of one of the module's metrics, summed over its attributes and without a fraction.
func (r *rig) metric(name string) (value int64) {
	r.t.Helper()
	m, err := r.telemetry.GetMetric("otelcol_" + name)
	if err != nil {
		return 0
	}
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, point := range data.DataPoints {
			value += point.Value
		}
	case metricdata.Gauge[int64]:
		for _, point := range data.DataPoints {
			value += point.Value
		}
	case metricdata.Gauge[float64]:
		for _, point := range data.DataPoints {
			value += int64(point.Value)
		}
	default:
		r.t.Fatalf("metric %s is a %T", name, m.Data)
	}
	return value
}

// patience is how long a test waits for what has to come; the machine may be loaded.
const patience = 2 * time.Minute

// waitFor polls until the condition holds, and fails the test when it does not for too long.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// openFiles counts the file descriptors of this process, sockets included.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: open files are counted on Linux")
	}
	return len(entries)
}
