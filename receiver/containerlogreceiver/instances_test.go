package containerlogreceiver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Receivers with ids of their own share a storage, and neither takes the positions of the other.
func TestReceiversShareAStorage(t *testing.T) {
	t.Parallel()
	inBothModes(t, testReceiversShareAStorage)
}

func testReceiversShareAStorage(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Count: 10}, script.Wait{Signal: "USR2"}, script.Lines{Count: 10}, script.Wait{},
	}})
	a, b := newRig(t, nil), newRig(t, nil)
	b.host, b.id = a.host, "second"
	a.start()
	b.start()
	a.awaitLines(c.ID, 10)
	b.awaitLines(c.ID, 10)
	a.stop() // is behind from now on
	c.Signal("USR1")
	b.awaitLines(c.ID, 20)
	b.stop()
	a.start()
	b.start()
	a.awaitLines(c.ID, 20)
	c.Signal("USR2")
	a.awaitLines(c.ID, 30)
	b.awaitLines(c.ID, 30)
	a.requireExact(c)
	b.requireExact(c)
	require.Len(t, a.records(c.ID), 30)
	require.Len(t, b.records(c.ID), 30)
	a.stop()
	b.stop()
}

// An address can lead to another engine for a time.
func TestAnotherEngineAtTheSameAddress(t *testing.T) {
	t.Parallel()
	start := func() *dockertest.Engine {
		// Docker 20.10 makes its id of this file, which is one for the whole host else.
		dir := t.TempDir()
		config := filepath.Join(dir, "daemon.json")
		require.NoError(t, os.WriteFile(config, []byte(`{"deprecated-key-path":"`+filepath.Join(dir, "key.json")+`"}`), 0o600))
		engine := dockertest.NewEngine(t, dockertest.EngineSettings{Args: []string{"--config-file", config}})
		engine.Start()
		return engine
	}
	first, second := start(), start()
	p := newProxy(t, first.Host())
	r := newRig(t, func(c *Config) { c.Endpoint = "unix://" + p.listener.Addr().String() })
	r.start()
	awaitUp(r)
	steps := []script.Step{script.Lines{Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Count: 10}, script.Wait{Signal: "USR2"}, script.Lines{Count: 10}, script.Wait{}}
	a := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: first.Client(), Steps: steps})
	r.awaitLines(a.ID, 10)

	p.lead(second.Host())
	b := dockertest.Run(t, dockertest.Spec{Name: name(t), Client: second.Client(), Steps: steps})
	a.Signal("USR1")
	r.awaitLines(b.ID, 10)
	require.Zero(t, r.metric("logcapture_gaps"))

	p.lead(first.Host())
	a.Signal("USR2")
	r.awaitLines(a.ID, 30)
	r.requireExact(a)
	r.requireExact(b)
	require.Zero(t, r.metric("logcapture_gaps"))
	require.Equal(t, 2, r.logs.FilterMessage("Another container engine answers").Len())
	r.stop()
}
