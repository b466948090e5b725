// Package capturetest has what tests of both receivers need around them: a host with the real file storage, and a consumer that keeps
// what it gets and can be told to refuse. It starts no goroutines.
package capturetest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// StorageID is the id of the storage extension of a [Host].
var StorageID = component.MustNewID("file_storage")

// Host is a collector with a file storage, and remembers the statuses that are reported.
type Host struct {
	extensions map[component.ID]component.Component

	mu     sync.Mutex
	events []*componentstatus.Event
}

// NewHost starts a file storage in dir, which ends with the test.
func NewHost(t testing.TB, dir string) *Host {
	t.Helper()
	factory := filestorage.NewFactory()
	config := factory.CreateDefaultConfig().(*filestorage.Config)
	config.Directory = dir
	settings := extension.Settings{ID: StorageID, TelemetrySettings: componenttest.NewNopTelemetrySettings()}
	store, err := factory.Create(t.Context(), settings, config)
	require.NoError(t, err)
	h := NewHostWith(map[component.ID]component.Component{StorageID: store})
	require.NoError(t, store.Start(t.Context(), h))
	t.Cleanup(func() { require.NoError(t, store.Shutdown(context.WithoutCancel(t.Context()))) })
	return h
}

// NewHostWith makes a host with these extensions, which are started already.
func NewHostWith(extensions map[component.ID]component.Component) *Host {
	return &Host{extensions: extensions}
}

// GetExtensions returns the extensions; they may be changed before a receiver starts.
func (h *Host) GetExtensions() map[component.ID]component.Component { return h.extensions }

// Report remembers a status.
func (h *Host) Report(e *componentstatus.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Last returns the status reported last, one of StatusNone before the first.
func (h *Host) Last() *componentstatus.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) == 0 {
		return componentstatus.NewEvent(componentstatus.StatusNone)
	}
	return h.events[len(h.events)-1]
}

// Record is one record that a [Consumer] got.
type Record struct {
	Body     string // of a body of bytes: these
	Resource map[string]any
	Log      plog.LogRecord
}

// Consumer keeps what it accepts. It is safe for concurrent use. The zero value accepts everything.
type Consumer struct {
	mu      sync.Mutex
	answer  func(context.Context, plog.Logs) error
	records []Record
	batches int
}

var _ consumer.Logs = (*Consumer)(nil)

// Capabilities say that logs are kept.
func (*Consumer) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

// ConsumeLogs asks the answer and keeps what that accepts.
func (c *Consumer) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, logs); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches++
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				c.records = append(c.records, Record{text(lr.Body()), rl.Resource().Attributes().AsRaw(), lr})
			}
		}
	}
	return nil
}

func text(body pcommon.Value) string {
	if body.Type() == pcommon.ValueTypeBytes {
		return string(body.Bytes().AsRaw())
	}
	return body.AsString()
}

// Answer sets what is asked before something is accepted, nil for nothing. It runs without a lock.
func (c *Consumer) Answer(answer func(context.Context, plog.Logs) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// Records returns what was accepted, in order.
func (c *Consumer) Records() []Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.records)
}

// Bodies returns the texts of what was accepted, in order.
func (c *Consumer) Bodies() []string {
	records := c.Records()
	bodies := make([]string, len(records))
	for i, r := range records {
		bodies[i] = r.Body
	}
	return bodies
}

// Len returns how many records were accepted.
func (c *Consumer) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.records)
}

// Patience is for how long what has to come is waited for: far longer than a busy machine needs for it.
const Patience = time.Minute

// WaitFor polls until the condition holds, and fails the test when it is out of patience.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", Patience, what)
		}
	}
}
