package containerlogreceiver

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 43, 44 and 45: an engine that is absent, is killed, is stopped, and comes again.
func TestEngineComesAndGoesUnderLoad(t *testing.T) {
	t.Parallel()
	inBothModes(t, testEngineComesAndGoesUnderLoad)
}

func testEngineComesAndGoesUnderLoad(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"live-restore": true, "containers end with the engine": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := dockertest.NewEngine(t, dockertest.EngineSettings{LiveRestore: live})
			r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
			r.start()
			waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusRecoverableError })
			engine.Start()
			restart := "no"
			if !live {
				restart = "always"
			}
			var all []*dockertest.Container
			for range 4 {
				all = append(all, dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Restart: restart, Steps: []script.Step{
					script.Lines{Stream: script.Both, PerSecond: 100, Resume: true}, script.Wait{Signal: "TERM"},
				}}))
			}
			waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusOK })
			for i, end := range []func(){engine.Kill, engine.Stop, engine.Kill} {
				r.awaitLines(all[0].ID, 400*(i+1))
				socket, err := os.Stat(engine.Socket())
				require.NoError(t, err)
				end()
				waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusRecoverableError })
				engine.Start()
				again, err := os.Stat(engine.Socket())
				require.NoError(t, err)
				require.NotEqual(t, socket.ModTime(), again.ModTime(), "the engine makes its socket anew")
				waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusOK })
			}
			for _, c := range all {
				// Not the writer's numbers: an engine that is killed takes with it what it has read and not yet written.
				c.Stop(10)
				r.requireExact(c)
			}
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// The budget of design: base + 3 goroutines and one connection for each container, flat while it runs, and nothing after.
func TestGoroutinesAndConnectionsAreOfTheContainersAndNotOfTime(t *testing.T) {
	inBothModes(t, testGoroutinesAndConnectionsAreOfTheContainersAndNotOfTime)
}

func testGoroutinesAndConnectionsAreOfTheContainersAndNotOfTime(t *testing.T) {
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{})
	engine.Start()
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.ResyncInterval = engine.Host(), 300*time.Millisecond
	})
	r.start()
	waitFor(t, "the status", func() bool { return r.metric("logcapture_daemon_connections") > 0 })
	time.Sleep(time.Second)
	base, baseConnections, baseFiles := runtime.NumGoroutine(), r.metric("logcapture_daemon_connections"), openFiles(t)
	const n = 10
	var all []*dockertest.Container
	for range n {
		all = append(all, dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: []script.Step{
			script.Lines{Stream: script.Both, PerSecond: 50}, script.Exit{},
		}}))
	}
	connections, files := int64(n), 0 // for one log each
	if modeOf(t) == readFiles {
		connections, files = 1, 2*n // of a request that just ended; a file that was rotated away can be open too
	}
	within := func() bool {
		return r.metric("logcapture_containers_followed") == n && r.metric("logcapture_daemon_connections") <= baseConnections+connections &&
			runtime.NumGoroutine() <= base+3*n && openFiles(t) <= baseFiles+int(connections)+files+n/2 // a request of the test's own
	}
	waitFor(t, "the streams", within)
	for i := range 20 {
		if i%4 == 0 {
			all[i%n].Restart(5)
		}
		waitFor(t, "the same numbers again", within)
	}
	for _, c := range all {
		c.Remove()
	}
	waitFor(t, "the numbers of before", func() bool {
		r.receiver.(*containerLog).follower.engine.transport.CloseIdleConnections() // they would end by themselves after half a minute
		return r.metric("logcapture_containers_followed") == 0 && r.metric("logcapture_daemon_connections") <= baseConnections && runtime.NumGoroutine() <= base+2 && openFiles(t) <= baseFiles+2
	})
	r.stop()
}
