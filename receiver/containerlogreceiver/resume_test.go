package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 35: a restart in the middle of lines that were written at full speed, so that many of them lie within each moment.
func TestRestartInTheMiddleOfABurst(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 10_000, Block: 4096}, script.Wait{}}})
	waitFor(t, "the burst", func() bool { return len(c.Logs()) == 10_000 })
	r := newRig(t, nil)
	for _, most := range []int{2000, 5000, 8000} {
		r.consumer.Answer(func(context.Context, plog.Logs) error {
			if r.consumer.Len() >= most {
				return errors.New("not now")
			}
			return nil
		})
		r.start()
		r.awaitLines(c.ID, most)
		r.stop()
		require.Less(t, r.consumer.Len(), 10_000, "the restart came too late for the test to say something")
	}
	r.consumer.Answer(nil)
	r.start()
	r.requireExact(c)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// Row 39: the position is older than all that the engine has kept. What it has comes, and the rest is told.
func TestPositionIsOlderThanTheHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogDriver: "json-file", LogOpts: map[string]string{"max-size": "100k", "max-file": "2"}, Steps: []script.Step{
		script.Lines{Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Count: 3000, PerSecond: 3000, Length: 220}, raw("", "end\n"), script.Wait{},
	}})
	r.start()
	r.awaitLines(c.ID, 10)
	r.stop()
	c.Signal("USR1")
	awaitEnd(t, c)
	r.start()
	kept := engineLines(c)
	require.Less(t, len(kept), 3000, "the engine has thrown nothing away")
	r.awaitLines(c.ID, 10+1+len(kept))
	require.Equal(t, "container.log.gap", r.records(c.ID)[10].Log.EventName())
	require.True(t, slices.Equal(kept, r.lines(c.ID)[11:]), "all that the engine still has follows the gap")
	require.Equal(t, int64(1), r.metric("logcapture_gaps"))
	r.stop()
}

// Row 62: another configuration is another instance, which goes on where the one before has ended.
func TestChangesOfTheConfiguration(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Labels: map[string]string{"team": "a"}, Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 3000, PerSecond: 1500}, script.Wait{},
	}})
	r := newRig(t, nil)
	for i, change := range []func(*Config){
		func(*Config) {},
		func(c *Config) { c.LabelAttributes = []string{"team"} },
		func(c *Config) { c.MaxLogSize, c.MaxLogSizeBehavior = 100_000, behaviorTruncate },
		func(c *Config) { c.StartAt, c.ResyncInterval = startAtEnd, time.Second },
		func(c *Config) { c.ServiceIdentity, c.LifecycleRecords = false, true },
	} {
		change(r.config)
		require.NoError(t, r.config.Validate())
		r.start()
		r.awaitLines(c.ID, 600*(i+1))
		r.stop()
	}
	r.start()
	waitFor(t, "the end of the container's lines", func() bool { return len(c.Logs()) == 6000 })
	r.requireExact(c)
	records := r.records(c.ID)
	require.NotContains(t, records[0].Resource, "container.label.team")
	require.Equal(t, "a", records[len(records)-1].Resource["container.label.team"])
	r.stop()
}

// Row 32: the engine's log rotates between the pieces of a long line. (Docker 20.10 itself skips pieces with its driver local then.)
func TestLongLineOverARotation(t *testing.T) {
	t.Parallel()
	const lines, size = 15, 40_000
	var steps []script.Step
	var want []string
	for i := range lines {
		part := strings.Repeat(string(rune('a'+i)), 1000)
		want = append(want, strings.Repeat(part, size/len(part)))
		steps = append(steps, script.Raw{Data: []byte(part), Repeat: size / len(part)}, raw("", "\n"), script.Wait{Signal: "USR1"})
	}
	r := newRig(t, func(c *Config) { c.IdleCheckInterval = time.Second }) // the engine can stop telling what it writes
	r.start()
	awaitUp(r)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogDriver: "json-file", LogOpts: map[string]string{"max-size": "25k", "max-file": "5"}, Steps: steps})
	for i := range lines {
		r.awaitLines(c.ID, i+1)
		if i == lines/2 {
			r.stop()
			r.start()
		}
		c.Signal("USR1")
	}
	r.awaitSettled(c.ID)
	var got []string
	for _, record := range r.records(c.ID) {
		got = append(got, record.Body)
	}
	requireTexts(t, want, got)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// Row 54: what a container sends elsewhere the engine keeps a copy of, which is read unless its driver is left out.
func TestContainersThatLogElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere, err := net.ListenPacket("udp", "127.0.0.1:0") // the engine keeps no copy of what cannot be sent
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, elsewhere.Close()) })
	all := newRig(t, nil)
	some := newRig(t, func(c *Config) { c.Exclude.LogDrivers = []string{"gelf"} })
	all.start()
	some.start()
	run := func(driver string, options map[string]string) *dockertest.Container {
		return dockertest.Run(t, dockertest.Spec{Name: name(t), LogDriver: driver, LogOpts: options, Steps: []script.Step{
			script.Lines{Stream: script.Both, Count: 50}, script.Wait{Signal: "TERM"},
		}})
	}
	away := run("gelf", map[string]string{"gelf-address": "udp://" + elsewhere.LocalAddr().String()})
	here := run("json-file", nil)
	for _, c := range []*dockertest.Container{away, here} {
		all.awaitLines(c.ID, 100)
		all.requireExact(c)
	}
	some.awaitLines(here.ID, 100)
	some.awaitSettledOut(away.ID)
	require.Zero(t, len(some.records(away.ID)))
	all.stop()
	some.stop()
}

// awaitSettledOut waits until it is decided that a container is not captured.
func (r *rig) awaitSettledOut(id string) {
	r.t.Helper()
	f := r.receiver.(*containerLog).follower
	waitFor(r.t, fmt.Sprintf("decision about %.12s", id), func() bool {
		c := f.get(id)
		if c == nil {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.about.driver != "" && c.stream == nil
	})
}
