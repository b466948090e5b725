package filetailreceiver

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/filetail"
	"github.com/logcapture/logcapture/receiver/filetailreceiver/internal/metadata"
)

// fileTail is the receiver: it puts the engine of package filetail together with what the collector gives.
type fileTail struct {
	config   *Config
	settings receiver.Settings
	next     consumer.Logs

	mu      sync.Mutex // guards running
	running *capture.Capture
}

// Start starts the work and does none of it: no file is looked at before it returns.
func (r *fileTail) Start(ctx context.Context, host component.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := capture.Start(ctx, host, r.config.Config, capture.Settings{
		Receiver:       r.settings,
		Next:           r.next,
		Scope:          metadata.ScopeName,
		Format:         "file",
		Transport:      "file",
		PositionFormat: filetail.PositionFormat,
	})
	if err != nil {
		return err
	}
	text, textErr := r.config.text()
	attributes, attributesErr := r.config.build(r.config.Format)
	if err := errors.Join(textErr, attributesErr); err != nil { // a configuration that was not validated
		return errors.Join(err, c.Shutdown(ctx))
	}
	engine := filetail.New(c, filetail.Settings{
		Include:      r.config.Include,
		Exclude:      r.config.Exclude,
		StartAtEnd:   r.config.StartAt == startAtEnd,
		PollInterval: r.config.PollInterval,
		RotateWait:   r.config.RotateWait,
		MaxLogSize:   int(r.config.MaxLogSize),

		Text:           text,
		FileAttributes: attributes,

		ReconcileInterval: r.config.ReconcileInterval,
		Polling:           r.config.Discovery == discoveryPoll,
		ByPath:            r.config.Identity == identityPath,
		ExcludeOlderThan:  r.config.ExcludeOlderThan,
		MaxOpenFiles:      r.config.MaxOpenFiles,
		Compression:       r.config.Compression,
		ReadNew:           r.config.OnTruncate == truncatedNew,
		Delete:            r.config.DeleteAfterRead,
		Lock:              r.config.AcquireFSLock,
	})
	if err := engine.Start(); err != nil {
		return errors.Join(err, c.Shutdown(ctx))
	}
	r.running = c
	return nil
}

// Shutdown ends the work and waits for it, at most until ctx ends.
func (r *fileTail) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if running == nil {
		return nil
	}
	return running.Shutdown(ctx)
}
