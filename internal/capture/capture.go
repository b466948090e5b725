package capture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension/xextension/storage"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/ballast"
	"github.com/logcapture/logcapture/internal/checkpoint"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lifecycle"
	"github.com/logcapture/logcapture/internal/status"
	"github.com/logcapture/logcapture/internal/telemetry"
)

// Settings say what one receiver instance is.
type Settings struct {
	Receiver  receiver.Settings
	Next      consumer.Logs
	Scope     string // name of the instrumentation scope
	Format    string // format and transport of the receiver's own metrics
	Transport string
	// PositionFormat is the version of the positions that the receiver stores.
	PositionFormat byte
}

// Capture is a running receiver instance. Its methods are safe for concurrent use.
type Capture struct {
	Config
	Logger    *zap.Logger
	Store     *checkpoint.Store
	Sink      *emit.Sink
	Budget    *emit.Budget
	Status    *status.Board
	Telemetry *telemetry.TelemetryBuilder
	// Attributes carry the id of the receiver, for its own metrics.
	Attributes metric.MeasurementOption

	receiver attribute.KeyValue
	readers  *lifecycle.Group // ends first
	writer   *lifecycle.Group // the store, which outlives the last acknowledgement
	closers  []func() error
	guard    guard

	delivered *ballast.Gauge

	shutdown sync.Once
	err      error
}

// Start makes everything that a receiver needs, and starts the tasks that store positions, where there is a storage, and watch the others. ctx may end when Start has returned. What fails
// leaves nothing behind.
func Start(ctx context.Context, host component.Host, config Config, settings Settings) (*Capture, error) {
	ctx = context.WithoutCancel(ctx)
	id := attribute.String("receiver", settings.Receiver.ID.String())
	c := &Capture{
		Config:     config,
		Logger:     settings.Receiver.Logger,
		Budget:     emit.NewBudget(int64(config.MaxInflight)),
		Status:     status.NewBoard(host),
		Attributes: metric.WithAttributeSet(attribute.NewSet(id)),
		receiver:   id,
		guard:      guard{limits: make(map[string]func() int)},
		delivered:  ballast.NewGauge(),
	}
	c.readers = lifecycle.NewGroup(ctx, c.panicked)
	c.writer = lifecycle.NewGroup(ctx, c.panicked)
	client, err := storageClient(ctx, host, config.Storage, settings.Receiver.ID)
	if err != nil {
		return nil, err
	}
	if err := c.build(ctx, client, lostPositions(host), settings); err != nil {
		if client != nil {
			err = errors.Join(err, client.Close(ctx))
		}
		if c.Telemetry != nil {
			c.Telemetry.Shutdown()
		}
		return nil, err
	}
	if client != nil {
		c.writer.Go("checkpoint", "", c.Store.Run)
	}
	c.readers.Go("guard", "", c.watchTasks)
	c.readers.Go("ballast", "", c.delivered.Run)
	return c, nil
}

func (c *Capture) build(ctx context.Context, client storage.Client, lost error, settings Settings) (err error) {
	c.Telemetry, err = telemetry.NewTelemetryBuilder(settings.Receiver.TelemetrySettings)
	if err != nil {
		return fmt.Errorf("create metrics: %w", err)
	}
	c.Store = checkpoint.New(checkpoint.Settings{
		Client: client,
		Format: settings.PositionFormat,
		Wrote:  func(keys int) { c.Telemetry.LogcaptureCheckpointWrites.Add(ctx, int64(keys), c.Attributes) },
		Failed: func(err error) { c.StorageFailed(ctx, err) },
		Lost:   lost,
	})
	c.Sink, err = emit.NewSink(emit.Settings{
		Next:      settings.Next,
		Receiver:  settings.Receiver,
		Retry:     c.Retry,
		Scope:     settings.Scope,
		Format:    settings.Format,
		Transport: settings.Transport,
		Delivered: c.delivered.Add,
		Dropped: func(n int, reason string) {
			c.Telemetry.LogcaptureRecordsDropped.Add(ctx, int64(n), c.With(attribute.String("reason", reason)))
		},
		Retried: func() { c.Telemetry.LogcaptureRetries.Add(ctx, 1, c.Attributes) },
		Marked: func(marks emit.Marks) {
			c.Telemetry.LogcaptureRecordsTruncated.Add(ctx, int64(marks.Truncated), c.Attributes)
			c.Telemetry.LogcaptureRecordsMalformed.Add(ctx, int64(marks.Malformed), c.Attributes)
		},
	})
	if err != nil {
		return err
	}
	return errors.Join(
		c.Telemetry.RegisterLogcaptureTasksCallback(c.observeTasks),
		c.Telemetry.RegisterLogcaptureInflightBytesCallback(c.Observe(c.Budget.Used)),
	)
}

// Go starts a task that reads; see [lifecycle.Group.Go].
func (c *Capture) Go(kind, name string, run func(ctx context.Context)) *lifecycle.Task {
	return c.readers.Go(kind, name, run)
}

// OnShutdown has release called when no task reads any more. It belongs to Start, before the first task that needs it ends.
func (c *Capture) OnShutdown(release func() error) { c.closers = append(c.closers, release) }

// Shutdown ends the capture: readers end at their current block, a delivery under way is given the grace, then what they used is
// released and what was acknowledged is stored. It returns an error that names what still ran when ctx ended. Calling it again,
// also concurrently, waits for the first call and returns what that did.
func (c *Capture) Shutdown(ctx context.Context) error {
	c.shutdown.Do(func() {
		errs := []error{c.readers.Stop(ctx, c.ShutdownGrace)}
		for _, release := range c.closers {
			errs = append(errs, release())
		}
		// The store has its last write to do; it is not cut while ctx lasts.
		errs = append(errs, c.writer.Stop(ctx, c.untilEnd(ctx)))
		c.Telemetry.Shutdown()
		c.err = errors.Join(errs...)
	})
	return c.err
}

func (c *Capture) untilEnd(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return max(c.ShutdownGrace, time.Second)
}

// LoadPositions returns the stored positions by key, and the keys whose positions cannot be read; see [checkpoint.Store.Load]. While the
// storage itself cannot be read it tries again, because reading on without positions would skip or repeat. It returns an error only
// when ctx ends.
func (c *Capture) LoadPositions(ctx context.Context) (map[string][]byte, *checkpoint.DamagedError, error) {
	for {
		positions, err := c.Store.Load(ctx)
		var damaged *checkpoint.DamagedError
		if err == nil || errors.As(err, &damaged) {
			if damaged != nil {
				c.Telemetry.LogcaptureCheckpointErrors.Add(ctx, int64(max(1, len(damaged.Keys))), c.Attributes)
				c.Logger.Error("Stored positions are damaged; their sources are read again from the beginning", zap.Error(err))
			}
			c.Status.Set("storage", nil)
			return positions, damaged, nil
		}
		c.StorageFailed(ctx, err)
		if err := lifecycle.Sleep(ctx, time.Second); err != nil {
			return nil, nil, err
		}
	}
}

// StorageFailed counts and reports an error of the storage; nil reports its end.
func (c *Capture) StorageFailed(ctx context.Context, err error) {
	changed := c.Status.Set("storage", err)
	if err == nil {
		c.Logger.Info("Storage works again; positions are up to date")
		return
	}
	c.Telemetry.LogcaptureCheckpointErrors.Add(ctx, 1, c.Attributes)
	if changed {
		c.Logger.Error("Storage fails; capture goes on, lines since the last stored position are repeated after a crash", zap.Error(err))
	}
}

// With returns the attributes of a metric of this receiver, with more of them.
func (c *Capture) With(more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, c.receiver)...))
}

// Observe makes a callback for a gauge out of a function that counts.
func (c *Capture) Observe(count func() int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(count(), c.Attributes)
		return nil
	}
}

func (c *Capture) observeTasks(_ context.Context, o metric.Int64Observer) error {
	for _, group := range []*lifecycle.Group{c.readers, c.writer} {
		for kind, n := range group.Counts() {
			o.Observe(int64(n), c.With(attribute.String("kind", kind)))
		}
	}
	return nil
}

func (c *Capture) panicked(err error) {
	c.Logger.Error("A task has panicked", zap.Error(err))
	c.Status.Broken(err)
}

// lostPositions asks the extensions, and storage_check answers, which databases were set aside because of damage. Whose they were is not
// asked: it only matters for sources without a stored position, which are then read from the beginning whatever `start_at` says.
func lostPositions(host component.Host) error {
	for _, extension := range host.GetExtensions() {
		if checked, ok := extension.(interface{ SetAside() []string }); ok && len(checked.SetAside()) > 0 {
			return fmt.Errorf("damaged databases were set aside: %s", strings.Join(checked.SetAside(), ", "))
		}
	}
	return nil
}

// storageClient returns the client of the named storage extension, nil where none is named.
func storageClient(ctx context.Context, host component.Host, id *component.ID, receiver component.ID) (storage.Client, error) {
	if id == nil {
		return nil, nil
	}
	extension, ok := host.GetExtensions()[*id]
	if !ok {
		return nil, fmt.Errorf("`storage`: there is no extension %q", id)
	}
	provider, ok := extension.(storage.Extension)
	if !ok {
		return nil, fmt.Errorf("`storage`: extension %q is no storage", id)
	}
	client, err := provider.GetClient(ctx, component.KindReceiver, receiver, "")
	if err != nil {
		return nil, fmt.Errorf("`storage`: open %q: %w", id, err)
	}
	return client, nil
}
