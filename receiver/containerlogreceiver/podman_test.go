package containerlogreceiver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// withPodman runs a test with both ways in which Podman keeps logs.
func withPodman(t *testing.T, test func(*testing.T, *dockertest.Engine, string)) {
	for _, driver := range []string{"k8s-file", journald} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			engine := dockertest.NewEngine(t, dockertest.EngineSettings{Podman: true, Journal: driver == journald})
			engine.Start()
			test(t, engine, driver)
		})
	}
}

// Row 55 with a real Podman: its log is read from its beginning and over many clean restarts of the receiver and of containers.
func TestRealPodmanIsReadExactly(t *testing.T) {
	t.Parallel()
	withPodman(t, testRealPodmanIsReadExactly)
}

func testRealPodmanIsReadExactly(t *testing.T, engine *dockertest.Engine, driver string) {
	r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), LogDriver: driver, Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 1500, PerSecond: 500, Resume: true}, script.Wait{Signal: "TERM"},
	}})
	for i := range 5 {
		r.start()
		r.awaitLines(c.ID, 300*(i+1))
		if i == 2 {
			c.Restart(10)
		}
		r.stop()
	}
	r.start()
	for _, stream := range []string{script.Stdout, script.Stderr} {
		waitFor(t, "the last line of "+stream, func() bool { return len(of(r.lines(c.ID), " "+stream+" ")) >= 1500 })
	}
	requireNumbered(t, r, c.ID, 1500)
	require.Zero(t, r.metric("logcapture_gaps"))
	resource := r.records(c.ID)[0].Resource
	require.Equal(t, "podman", resource["container.runtime.name"])
	require.Equal(t, c.Name, resource["container.name"])
	repository, _, _ := strings.Cut(c.Image, ":")
	require.Equal(t, "docker.io/library/"+repository, resource["container.image.name"])
	r.stop()
}

// What comes and goes with a real Podman: its service, containers, names, lines that it cuts.
func TestRealPodmanComesAndGoes(t *testing.T) {
	t.Parallel()
	withPodman(t, testRealPodmanComesAndGoes)
}

func testRealPodmanComesAndGoes(t *testing.T, engine *dockertest.Engine, driver string) {
	r := newRig(t, func(c *Config) { c.Endpoint, c.LifecycleRecords = engine.Host(), true })
	r.start()
	awaitUp(r)
	long := strings.Repeat("0123456789", 5000)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), LogDriver: driver, Steps: []script.Step{
		raw("", "one\n\n  two\n", long, "\n"), script.Wait{Signal: "USR1"}, raw("", "three\n"), script.Wait{Signal: "USR1"}, raw("", "open end"), script.Exit{Code: 3},
	}})
	want := []string{"one", "", "  two", long}
	r.awaitLines(c.ID, len(want)+1) // and the start

	engine.Stop()
	waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusRecoverableError })
	engine.Start()
	waitFor(t, "the status", func() bool { return r.host.Last().Status() == componentstatus.StatusOK })
	c.Rename(name(t))
	c.Signal("USR1")
	want = append(want, "three")
	r.awaitLines(c.ID, len(want)+1)
	c.Signal("USR1")
	want = append(want, "open end", "container has ended with exit code 3")
	r.awaitLines(c.ID, len(want)+1)
	var got []string
	for _, record := range r.records(c.ID) {
		if record.Log.EventName() != "container.start" { // Podman tells the start when the first lines are written
			got = append(got, record.Body)
		}
	}
	requireTexts(t, want, got)

	tty := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: engine.Client(), LogDriver: driver, TTY: true, Steps: []script.Step{script.Lines{Count: 3}}})
	r.awaitLines(tty.ID, 5)
	for i := range 3 {
		require.Contains(t, strings.Join(r.lines(tty.ID), "\n"), fmt.Sprintf(" stdout stdout-1-%d", i+1))
	}
	c.Remove()
	tty.Remove()
	f := r.receiver.(*containerLog).follower
	waitFor(t, "forgetting", func() bool { return len(f.all()) == 0 })
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}
