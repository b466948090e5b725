package containerlogreceiver

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/dockerstream"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

// containerLog is the receiver.
type containerLog struct {
	config   *Config
	settings receiver.Settings
	next     consumer.Logs

	mu       sync.Mutex // guards below
	running  *capture.Capture
	follower *follower
}

// Start starts the work and does none of it: nothing is asked of the engine before it returns.
func (r *containerLog) Start(ctx context.Context, host component.Host) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, err := capture.Start(ctx, host, r.config.Config, capture.Settings{
		Receiver:       r.settings,
		Next:           r.next,
		Scope:          metadata.ScopeName,
		Format:         "docker",
		Transport:      "http",
		PositionFormat: dockerstream.PositionFormat,
	})
	if err != nil {
		return err
	}
	f, err := newFollower(ctx, c, r.config)
	if err == nil {
		err = f.start()
	}
	if err != nil {
		return errors.Join(err, c.Shutdown(ctx))
	}
	r.running, r.follower = c, f
	return nil
}

// Shutdown ends the work and waits for it, at most until ctx ends.
func (r *containerLog) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	running := r.running
	r.mu.Unlock()
	if running == nil {
		return nil
	}
	return running.Shutdown(ctx)
}
