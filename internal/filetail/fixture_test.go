package filetail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/emit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tail is an engine over a directory of its own, with the real file storage.
type tail struct {
	t        *testing.T
	dir      string
	host     *capturetest.Host
	consumer *capturetest.Consumer
	name     string // of the receiver, where there are more than one
	settings Settings
	engine   *Engine

	telemetry *componenttest.Telemetry
	logged    *observer.ObservedLogs
}

// newTail prepares an engine that reads *.log in its directory from the beginning. It runs when run is called.
func newTail(t *testing.T) *tail {
	x := &tail{t: t, dir: t.TempDir(), host: capturetest.NewHost(t, t.TempDir()), consumer: &capturetest.Consumer{}}
	x.settings = Settings{
		Include:      []string{filepath.Join(x.dir, "*.log")},
		PollInterval: 2 * time.Millisecond,
		RotateWait:   time.Second, // no pause of a busy machine is that long
		MaxLogSize:   1 << 20,

		FileAttributes: FileAttributes{Name: true},

		ReconcileInterval: 5 * time.Millisecond,
	}
	return x
}

// run starts the engine; it is stopped by stop or at the end of the test.
func (x *tail) run() *tail {
	x.t.Helper()
	config := capture.NewConfig()
	config.Storage = &capturetest.StorageID
	config.Retry.InitialInterval = time.Millisecond
	settings := receivertest.NewNopSettings(receivertest.NopType)
	x.telemetry = componenttest.NewTelemetry()
	settings.TelemetrySettings = x.telemetry.NewTelemetrySettings()
	logged, observed := observer.New(zap.InfoLevel)
	x.logged = observed
	settings.Logger = zaptest.NewLogger(x.t, zaptest.WrapOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewTee(core, logged)
	})))
	settings.ID = component.NewIDWithName(receivertest.NopType, x.name) // the same at each run: it names the stored positions
	c, err := capture.Start(x.t.Context(), x.host, config, capture.Settings{
		Receiver: settings, Next: x.consumer, Scope: "test", Format: "file", Transport: "file", PositionFormat: PositionFormat,
	})
	require.NoError(x.t, err)
	x.engine = New(c, x.settings)
	require.NoError(x.t, x.engine.Start())
	x.t.Cleanup(x.stop)
	return x
}

func (x *tail) stop() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.t.Context()), capturetest.Patience)
	defer cancel()
	require.NoError(x.t, x.engine.Shutdown(ctx))
}

// value returns what a metric says now, of the points with the attribute if one is given; 0 where there is none.
func (x *tail) value(name string, attribute ...attribute.KeyValue) (sum int64) {
	x.t.Helper()
	metric, err := x.telemetry.GetMetric(name)
	if err != nil {
		return 0
	}
	var points []metricdata.DataPoint[int64]
	switch data := metric.Data.(type) {
	case metricdata.Sum[int64]:
		points = data.DataPoints
	case metricdata.Gauge[int64]:
		points = data.DataPoints
	}
	for _, point := range points {
		if len(attribute) > 0 {
			if value, ok := point.Attributes.Value(attribute[0].Key); !ok || value != attribute[0].Value {
				continue
			}
		}
		sum += point.Value
	}
	return sum
}

// refuse has the consumer refuse all until the function that it returns is called.
func (x *tail) refuse() (release func()) {
	var open atomic.Bool
	x.consumer.Answer(func(context.Context, plog.Logs) error {
		if open.Load() {
			return nil
		}
		return errors.New("refused")
	})
	return func() { open.Store(true) }
}

func (x *tail) path(name string) string { return filepath.Join(x.dir, name) }

// write appends to a file in one write.
func (x *tail) write(name, text string) {
	x.t.Helper()
	f, err := os.OpenFile(x.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(x.t, err)
	_, err = f.WriteString(text)
	require.NoError(x.t, err)
	require.NoError(x.t, f.Close())
}

func (x *tail) rename(from, to string) {
	x.t.Helper()
	require.NoError(x.t, os.Rename(x.path(from), x.path(to)))
}

// want waits until exactly these bodies have come, in this order.
func (x *tail) want(bodies ...string) {
	x.t.Helper()
	deadline := time.Now().Add(capturetest.Patience)
	for x.consumer.Len() < len(bodies) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	require.Equal(x.t, bodies, x.consumer.Bodies())
}

// settled waits until the engine has looked twice more and has nothing to read: what is wrong would have shown by then.
func (x *tail) settled() {
	x.t.Helper()
	look := x.looks() + 2
	capturetest.WaitFor(x.t, "the engine settles", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		busy := len(x.engine.queue.files)
		for _, f := range x.engine.files {
			if f.reading || f.held {
				busy++
			}
		}
		return x.engine.look >= look && busy == 0
	})
}

// readOut waits until all that is known of every file was read, so that none of it can come any more.
func (x *tail) readOut() {
	x.t.Helper()
	x.settled()
	capturetest.WaitFor(x.t, "all files are read to their ends", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		for _, f := range x.engine.files {
			if f.reading || f.known.id == (id{}) || f.known.packed == 0 && f.known.offset < f.size {
				return false
			}
		}
		return true
	})
}

// followed waits until the file at a path is known to the engine, for a test that goes on to do what nobody could see who does not know it.
func (x *tail) followed(name string) {
	x.t.Helper()
	info, err := os.Stat(x.path(name))
	if os.IsNotExist(err) {
		return
	}
	require.NoError(x.t, err)
	known, err := idOfPath(x.path(name), info)
	require.NoError(x.t, err)
	born := bornAt(x.path(name), known)
	capturetest.WaitFor(x.t, name+" is followed", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		p, stored := x.engine.stored[known] // it may be of a file that is deleted, as what has the id may be
		f := x.engine.files[known]
		return stored && !p.otherThan(born) || f != nil && (f.born == 0 || born == 0 || f.born == born)
	})
}

func (x *tail) looks() uint64 {
	x.engine.mu.Lock()
	defer x.engine.mu.Unlock()
	return x.engine.look
}

// lines returns the numbered lines of a file, from first to last, as text and as bodies.
func lines(file string, first, last int) (text string, bodies []string) {
	var all strings.Builder
	for i := first; i <= last; i++ {
		line := fmt.Sprintf("%s-%d", file, i)
		all.WriteString(line + "\n")
		bodies = append(bodies, line)
	}
	return all.String(), bodies
}

// hold has all deliveries wait until release is called, once. inside counts those that have begun.
func (x *tail) hold() (inside *atomic.Int32, release func()) {
	inside = new(atomic.Int32)
	released := make(chan struct{})
	x.consumer.Answer(func(ctx context.Context, _ plog.Logs) error {
		inside.Add(1)
		select {
		case <-released:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	return inside, func() { close(released) }
}

// occupy has all workers wait in a delivery until release is called, once.
func (x *tail) occupy() (release func()) {
	x.t.Helper()
	inside, release := x.hold()
	for i := range workers() {
		x.write(fmt.Sprintf("busy-%d.log", i), strings.Repeat(strings.Repeat("x", 1000)+"\n", 2*emit.MaxBatchBytes/1000))
	}
	capturetest.WaitFor(x.t, "all workers deliver", func() bool { return int(inside.Load()) == workers() })
	return release
}
