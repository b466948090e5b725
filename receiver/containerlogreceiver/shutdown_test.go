//go:build linux

package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"golang.org/x/sys/unix"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

// create makes a receiver that is not started.
func create(t *testing.T, config *Config, next *capturetest.Consumer) receiver.Logs {
	t.Helper()
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.ID = component.NewID(metadata.Type)
	r, err := NewFactory().CreateLogs(t.Context(), settings, config, next)
	require.NoError(t, err)
	return r
}

// settledFiles waits until what other tests have left behind is closed.
func settledFiles(t *testing.T) int {
	t.Helper()
	last, same := openFiles(t), 0
	waitFor(t, "no more files are closed", func() bool {
		n := openFiles(t)
		if same++; n != last {
			last, same = n, 0
		}
		return same >= 10
	})
	return last
}

// TestShutdownWhileTheEngineIsFrozen: its sockets accept and take requests, and nothing ever comes.
func TestShutdownWhileTheEngineIsFrozen(t *testing.T) {
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{})
	engine.Start()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), Steps: []script.Step{script.Lines{Count: 10}, script.Wait{}}})
	freeze := func() (thaw func()) {
		pid := engine.PID()
		require.NoError(t, unix.Kill(pid, unix.SIGSTOP))
		return func() { _ = unix.Kill(pid, unix.SIGCONT) }
	}
	before := openFiles(t)
	for _, when := range []string{"while a stream is read", "before the start"} {
		t.Run(when, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
			if when == "before the start" {
				defer freeze()()
				r.start()
			} else {
				r.start()
				r.awaitLines(c.ID, 10)
				defer freeze()()
			}
			capturetest.ShutDown(t, r.receiver)
			require.NoError(t, r.telemetry.Shutdown(t.Context()))
		})
	}
	require.NoError(t, engine.Client().Close())
	waitFor(t, "as few open files as before", func() bool { return openFiles(t) <= before })
}

// TestShutdownOfManyBlockedStreams: the imitation accepts each request for a log, sends the headers of its answer and then nothing, as an
// engine does with a container that is quiet.
func TestShutdownOfManyBlockedStreams(t *testing.T) {
	const streams = 300
	e := newFakeEngine(t, nil)
	for range streams {
		e.run(&fakeContainer{})
	}
	r := newFakeRig(t, e, nil)
	r.start()
	waitFor(t, "all streams", func() bool {
		return r.metric("logcapture_containers_followed") == streams && r.metric("logcapture_daemon_connections") >= streams+1
	})
	capturetest.ShutDown(t, r.receiver)
	require.NoError(t, r.telemetry.Shutdown(t.Context()))
}

func TestShutdownWhileADeliveryDoesNotEnd(t *testing.T) {
	blocks := func(ctx context.Context, _ plog.Logs) error { <-ctx.Done(); return ctx.Err() }
	for name, tt := range map[string]struct {
		answer func(context.Context, plog.Logs) error
		grace  time.Duration
		least  time.Duration
	}{
		"consumer blocks until its context ends": {answer: blocks, grace: 200 * time.Millisecond, least: 200 * time.Millisecond},
		"consumer blocks and there is no grace":  {answer: blocks},
		"downstream refuses for ever": {
			answer: func(context.Context, plog.Logs) error { return errors.New("not now") }, grace: time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newFakeEngine(t, nil)
			r := newFakeRig(t, e, func(c *Config) { c.ShutdownGrace = tt.grace })
			var asked atomic.Int64
			r.consumer.Answer(func(ctx context.Context, logs plog.Logs) error {
				asked.Add(1)
				return tt.answer(ctx, logs)
			})
			r.start()
			var all []*fakeContainer
			for range 5 {
				c := e.run(&fakeContainer{})
				e.write(c, "one")
				all = append(all, c)
			}
			waitFor(t, "deliveries", func() bool { return asked.Load() >= 5 })
			began := time.Now()
			capturetest.ShutDown(t, r.receiver)
			require.GreaterOrEqual(t, time.Since(began), tt.least)
			require.NoError(t, r.telemetry.Shutdown(t.Context()))

			// What nobody has taken comes after the next start.
			r.consumer.Answer(nil)
			r.start()
			for _, c := range all {
				r.awaitLines(c.id, 1)
			}
			r.stop()
			for _, c := range all {
				require.Equal(t, []string{"one"}, r.bodies(c))
			}
		})
	}
}

func TestShutdownWhileTheConsumerIgnoresItsContext(t *testing.T) {
	e := newFakeEngine(t, nil)
	r := newFakeRig(t, e, func(c *Config) { c.ShutdownGrace = 10 * time.Millisecond })
	release := make(chan struct{})
	var asked atomic.Int64
	r.consumer.Answer(func(context.Context, plog.Logs) error {
		asked.Add(1)
		<-release
		return nil
	})
	r.start()
	c := e.run(&fakeContainer{name: "busy"})
	e.write(c, "one")
	waitFor(t, "a delivery", func() bool { return asked.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := r.receiver.Shutdown(ctx)
	require.Less(t, time.Since(began), capturetest.Promptly)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, `stream "busy"`)
	e.write(c, "two")
	close(release)
	waitFor(t, "the delivery under way ends", func() bool { return len(r.bodies(c)) == 1 })
	require.NoError(t, r.telemetry.Shutdown(t.Context()))
	require.EqualValues(t, 1, asked.Load(), "nothing is delivered after Shutdown")
}

func TestShutdownWithAStorageInTrouble(t *testing.T) {
	e := newFakeEngine(t, nil)
	for name, trouble := range map[string]func(context.Context) error{
		"slow":                   func(ctx context.Context) error { return sleep(ctx, 300*time.Millisecond) },
		"hangs until it may not": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"fails at every write":   func(context.Context) error { return errors.New("no space left on device") },
	} {
		for _, when := range []string{"from the beginning", "after the first line"} {
			t.Run(name+" "+when, func(t *testing.T) {
				storage := capturetest.NewStorage()
				r := newFakeRig(t, e, nil)
				r.host = capturetest.NewHostWith(map[component.ID]component.Component{capturetest.StorageID: storage})
				if when == "from the beginning" {
					storage.Trouble(trouble)
				}
				r.start()
				if when != "from the beginning" {
					c := e.run(&fakeContainer{})
					e.write(c, "one")
					r.awaitLines(c.id, 1)
					storage.Trouble(trouble)
					e.write(c, "two")
					r.awaitLines(c.id, 2)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				began := time.Now()
				err := r.receiver.Shutdown(ctx)
				require.Less(t, time.Since(began), capturetest.Promptly)
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				waitFor(t, "the storage is closed", func() bool { return storage.Opened() == 0 })
				require.NoError(t, r.telemetry.Shutdown(t.Context()))
			})
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestShutdownBeforeStartTwiceAndConcurrently(t *testing.T) {
	e := newFakeEngine(t, nil)
	config := createDefaultConfig().(*Config)
	config.Endpoint = e.host
	r := create(t, config, &capturetest.Consumer{})
	capturetest.ShutDown(t, r)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	errs := make(chan error)
	for range 5 {
		go func() { errs <- r.Shutdown(t.Context()) }()
	}
	for range 5 {
		require.NoError(t, <-errs)
	}
	capturetest.ShutDown(t, r)
}

// TestShutdownAtAnyMomentOfStart is a thousand shutdowns while the tasks are being started, positions loaded, containers listed, inspected
// and read.
func TestShutdownAtAnyMomentOfStart(t *testing.T) {
	e := newFakeEngine(t, nil)
	var all []*fakeContainer
	for i := range 10 {
		c := e.run(&fakeContainer{})
		for n := range 100 {
			e.write(c, fmt.Sprintf("%d-%d", i, n))
		}
		all = append(all, c)
	}
	host := capturetest.NewHost(t, t.TempDir())
	config := createDefaultConfig().(*Config)
	config.Endpoint, config.Storage = e.host, &capturetest.StorageID
	consumer := &capturetest.Consumer{}
	before := openFiles(t)
	for i := range 1000 {
		r := create(t, config, consumer)
		started := make(chan error, 1)
		go func() { started <- r.Start(t.Context(), host) }()
		if i%4 > 0 { // else at the same time
			require.NoError(t, <-started)
			started <- nil
			time.Sleep(rand.N(10 * time.Millisecond)) // the moment is the matter here
		}
		capturetest.ShutDown(t, r)
		require.NoError(t, <-started)
		capturetest.ShutDown(t, r) // where Start was later than the first
	}
	// The imitated engine is in this process too: its ends of the connections close a moment later.
	waitFor(t, "as few open files as before", func() bool { return openFiles(t) <= before })
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), host))
	waitFor(t, "all lines", func() bool { return consumer.Len() >= 10*100 })
	capturetest.ShutDown(t, r)
	bodies := map[string]int{}
	for _, body := range consumer.Bodies() {
		bodies[body]++
	}
	require.Len(t, bodies, len(all)*100)
	for body, n := range bodies {
		require.Equal(t, 1, n, body)
	}
}
