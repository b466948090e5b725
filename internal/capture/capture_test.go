package capture_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logcapture/logcapture/internal/ballast"
	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/emit"
)

const format = 1

// start starts a capture with the real file storage of the host, or with none where the host has none.
func start(t *testing.T, host component.Host, telemetry component.TelemetrySettings) *capture.Capture {
	t.Helper()
	config := capture.NewConfig()
	if _, ok := host.GetExtensions()[capturetest.StorageID]; ok {
		config.Storage = &capturetest.StorageID
	}
	settings := receivertest.NewNopSettings(receivertest.NopType)
	settings.ID = component.NewID(receivertest.NopType)
	settings.TelemetrySettings = telemetry
	c, err := capture.Start(t.Context(), host, config, capture.Settings{
		Receiver: settings, Next: &capturetest.Consumer{}, Scope: "scope", Format: "raw", Transport: "file", PositionFormat: format,
	})
	require.NoError(t, err)
	return c
}

func TestPanicInATaskBecomesAPermanentStatusWithItsStack(t *testing.T) {
	host := capturetest.NewHost(t, t.TempDir())
	c := start(t, host, componenttest.NewNopTelemetrySettings())
	task := c.Go("stream", "web", func(context.Context) { panic("boom") })
	<-task.Done()
	require.Equal(t, componentstatus.StatusPermanentError, host.Last().Status())
	require.ErrorContains(t, host.Last().Err(), `panic in stream "web": boom`)
	require.ErrorContains(t, host.Last().Err(), "TestPanicInATaskBecomesAPermanentStatusWithItsStack")
	require.NoError(t, c.Shutdown(t.Context()))
}

func TestBallastIsHeldWhileMuchIsDelivered(t *testing.T) {
	c := start(t, capturetest.NewHost(t, t.TempDir()), componenttest.NewNopTelemetrySettings())
	require.False(t, ballast.Held())
	source := &emit.Source{Resource: &emit.Resource{Attributes: pcommon.NewMap()}, Attributes: pcommon.NewMap()}
	batch, body := c.Sink.NewBatch(), strings.Repeat("x", emit.MaxBatchBytes)
	capturetest.WaitFor(t, "ballast", func() bool {
		batch.Add(source, &emit.Record{Body: body})
		require.NoError(t, c.Sink.Consume(t.Context(), &batch))
		batch.Reset()
		return ballast.Held()
	})
	require.NoError(t, c.Shutdown(t.Context()))
	require.False(t, ballast.Held())
}

func TestWhatIsAcknowledgedLastIsStoredAtShutdown(t *testing.T) {
	host := capturetest.NewHost(t, t.TempDir())
	c := start(t, host, componenttest.NewNopTelemetrySettings())
	c.Go("reader", "", func(ctx context.Context) {
		<-ctx.Done()
		c.Store.Put("a", []byte("acknowledged during the grace"))
	})
	released := false
	c.OnShutdown(func() error { released = true; return nil })
	require.NoError(t, c.Shutdown(t.Context()))
	require.NoError(t, c.Shutdown(t.Context()))
	require.True(t, released)

	again := start(t, host, componenttest.NewNopTelemetrySettings())
	positions, damaged, err := again.LoadPositions(t.Context())
	require.NoError(t, err)
	require.Nil(t, damaged)
	require.Equal(t, map[string][]byte{"a": []byte("acknowledged during the grace")}, positions)
	require.NoError(t, again.Shutdown(t.Context()))
}

// checked is an extension that has set a database aside, as storage_check does.
type checked struct {
	component.StartFunc
	component.ShutdownFunc
}

func (checked) SetAside() []string { return []string{"/var/lib/otelcol/receiver_nop_"} }

func TestDatabaseThatWasSetAsideIsAnUnknownNumberOfLostPositions(t *testing.T) {
	host := capturetest.NewHost(t, t.TempDir())
	host.GetExtensions()[component.MustNewID("storage_check")] = checked{}
	c := start(t, host, componenttest.NewNopTelemetrySettings())
	_, damaged, err := c.LoadPositions(t.Context())
	require.NoError(t, err)
	require.True(t, damaged.Index, "nothing may be skipped for the sake of start_at")
	require.ErrorContains(t, damaged, "/var/lib/otelcol/receiver_nop_")
	require.NoError(t, c.Shutdown(t.Context()))
}

func TestShutdownReportsWhatCouldNotBeReleased(t *testing.T) {
	c := start(t, componenttest.NewNopHost(), componenttest.NewNopTelemetrySettings())
	stuck := errors.New("device is busy")
	c.OnShutdown(func() error { return stuck })
	require.ErrorIs(t, c.Shutdown(t.Context()), stuck)
}

// brokenStorage is a storage extension whose client fails on demand, as the real one does on a full or torn disk.
type brokenStorage struct {
	component.StartFunc
	component.ShutdownFunc
	err atomic.Pointer[error]
}

func (s *brokenStorage) state() error { return *s.err.Load() }

func (s *brokenStorage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	return s, nil
}
func (s *brokenStorage) Get(context.Context, string) ([]byte, error)        { return nil, s.state() }
func (s *brokenStorage) Set(context.Context, string, []byte) error          { return s.state() }
func (s *brokenStorage) Delete(context.Context, string) error               { return s.state() }
func (s *brokenStorage) Batch(context.Context, ...*storage.Operation) error { return s.state() }
func (s *brokenStorage) Close(context.Context) error                        { return nil }

func TestStorageThatFailsIsARecoverableStatusAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := &brokenStorage{}
		fault, none := errors.New("input/output error"), error(nil)
		broken.err.Store(&fault)
		host := capturetest.NewHostWith(map[component.ID]component.Component{capturetest.StorageID: broken})
		c := start(t, host, componenttest.NewNopTelemetrySettings())
		loaded := make(chan error, 1)
		c.Go("reader", "", func(ctx context.Context) {
			_, _, err := c.LoadPositions(ctx)
			loaded <- err
		})
		time.Sleep(time.Minute)
		require.Equal(t, componentstatus.StatusRecoverableError, host.Last().Status())
		require.Empty(t, loaded, "without positions nothing is read: that would skip or repeat")
		broken.err.Store(&none)
		time.Sleep(time.Minute)
		require.NoError(t, <-loaded)
		require.Equal(t, componentstatus.StatusOK, host.Last().Status())
		require.NoError(t, c.Shutdown(t.Context()))
	})
}

func TestTasksAndBytesAreMeasuredAndGoToZero(t *testing.T) {
	telemetry := componenttest.NewTelemetry()
	t.Cleanup(func() { require.NoError(t, telemetry.Shutdown(context.WithoutCancel(t.Context()))) })
	c := start(t, componenttest.NewNopHost(), telemetry.NewTelemetrySettings())
	task := c.Go("stream", "web", func(ctx context.Context) { <-ctx.Done() })
	held, err := c.Budget.Acquire(t.Context(), 1000)
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"ballast": 1, "guard": 1, "stream": 1}, gauge(t, telemetry, "otelcol_logcapture_tasks", "kind"))
	require.Equal(t, map[string]int64{"": 1000}, gauge(t, telemetry, "otelcol_logcapture_inflight_bytes", "kind"))
	c.Budget.Release(held)
	task.Cancel()
	<-task.Done()
	require.Equal(t, map[string]int64{"ballast": 1, "guard": 1}, gauge(t, telemetry, "otelcol_logcapture_tasks", "kind"))
	require.Equal(t, map[string]int64{"": 0}, gauge(t, telemetry, "otelcol_logcapture_inflight_bytes", "kind"))
	require.NoError(t, c.Shutdown(t.Context()))
	_, err = telemetry.GetMetric("otelcol_logcapture_tasks")
	require.Error(t, err, "no series stays behind a receiver that is gone")
}

// gauge returns the points of a gauge by the value of one of its attributes.
func gauge(t *testing.T, telemetry *componenttest.Telemetry, name, label string) map[string]int64 {
	t.Helper()
	m, err := telemetry.GetMetric(name)
	require.NoError(t, err)
	points := make(map[string]int64)
	for _, p := range m.Data.(metricdata.Gauge[int64]).DataPoints {
		value, _ := p.Attributes.Value(attribute.Key(label))
		points[value.AsString()] = p.Value
	}
	return points
}

func TestLeakedTasksAreNamedUntilTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := capturetest.NewHostWith(nil)
		c := start(t, host, componenttest.NewNopTelemetrySettings())
		c.Expect("stream", func() int { return 1 })
		untilDone := func(ctx context.Context) { <-ctx.Done() }
		c.Go("stream", "fine", untilDone)
		time.Sleep(time.Minute - 5*time.Second) // not in the moment of a look
		require.Equal(t, componentstatus.StatusNone, host.Last().Status())
		leaked := c.Go("stream", "leaked", untilDone)
		time.Sleep(10 * time.Second)
		require.Equal(t, componentstatus.StatusNone, host.Last().Status(), "it may be on its way out")
		time.Sleep(10 * time.Second)
		require.Equal(t, componentstatus.StatusRecoverableError, host.Last().Status())
		require.ErrorContains(t, host.Last().Err(), "2 of kind stream where 1 are expected: fine, leaked")
		leaked.Cancel()
		time.Sleep(10 * time.Second)
		require.Equal(t, componentstatus.StatusOK, host.Last().Status())
		require.NoError(t, c.Shutdown(t.Context()))
	})
}
