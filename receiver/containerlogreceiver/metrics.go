package containerlogreceiver

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// observe registers the gauges.
func (f *follower) observe() error {
	return errors.Join(
		f.Telemetry.RegisterLogcaptureContainersFollowedCallback(f.Observe(f.following)),
		f.Telemetry.RegisterLogcaptureDaemonConnectionsCallback(f.Observe(f.engine.connections)),
		f.Telemetry.RegisterLogcaptureContainerModesCallback(f.observeModes),
		f.Telemetry.RegisterLogcaptureContainersLagCallback(f.observeLag),
	)
}

// following counts the containers that are being read now.
func (f *follower) following() (n int64) {
	for _, c := range f.all() {
		c.mu.Lock()
		if c.stream != nil {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

func (f *follower) observeModes(_ context.Context, o metric.Int64Observer) error {
	var api, files int64
	for _, c := range f.all() {
		c.mu.Lock()
		st := c.stream
		c.mu.Unlock()
		switch {
		case st == nil:
		case st.log.Load() != nil:
			files++
		default:
			api++
		}
	}
	o.Observe(api, f.With(attribute.String("mode", "api")))
	o.Observe(files, f.With(attribute.String("mode", "files")))
	return nil
}

// observeLag tells one value for all containers: a series for each would never end.
func (f *follower) observeLag(_ context.Context, o metric.Float64Observer) error {
	var lag time.Duration
	s := f.engine.current.Load()
	for _, c := range f.all() {
		c.mu.Lock()
		st := c.stream
		c.mu.Unlock()
		if st == nil || s == nil {
			continue
		}
		if behind := st.behind.Load(); behind > 0 {
			lag = max(lag, time.Duration(st.now(s)-behind))
		}
	}
	o.Observe(lag.Seconds(), f.Attributes)
	return nil
}
