package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 1 and 3: running containers with history, both streams at the same time, order and stamps as stored.
func TestHistoryOfRunningContainers(t *testing.T) {
	t.Parallel()
	inBothModes(t, testHistoryOfRunningContainers)
}

func testHistoryOfRunningContainers(t *testing.T) {
	t.Parallel()
	var all []*dockertest.Container
	for range 4 {
		c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
			script.Lines{Stream: script.Both, Count: 1000}, script.Wait{Signal: "TERM"},
		}})
		all = append(all, c)
	}
	big := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 20_000}, script.Wait{Signal: "TERM"},
	}})
	r := newRig(t, nil)
	r.start()
	for _, c := range append(all, big) {
		waitFor(t, "the container's lines", func() bool { return len(c.Logs()) >= 2000 })
		r.requireExact(c)
	}
	r.awaitLines(big.ID, 40_000)
	r.requireExact(big)
	require.Equal(t, engineLines(big), r.lines(big.ID), "records come in the order in which they are stored")
	r.stop()
}

func TestContainersThatStartLaterAndAgain(t *testing.T) {
	t.Parallel()
	inBothModes(t, testContainersThatStartLaterAndAgain)
}

func testContainersThatStartLaterAndAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.start()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 2}, script.Wait{Signal: "TERM"}, script.Raw{Data: []byte("BYE\n")}, script.Exit{Code: 3},
	}})
	tty := dockertest.Run(t, dockertest.Spec{Name: name(t), TTY: true, Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 2}, script.Raw{Data: []byte(strings.Repeat("x", 20_000) + "\nafter\n")}, script.Wait{Signal: "TERM"},
	}})
	for i := range 3 {
		r.awaitLines(c.ID, 5*i+4)
		c.Restart(10)
	}
	r.awaitLines(tty.ID, 6)
	r.awaitLines(c.ID, 5*3+4)
	r.requireExact(c)
	var bodies []string
	for _, record := range r.records(tty.ID) {
		bodies = append(bodies, record.Body)
		stream, _ := record.Log.Attributes().Get("log.iostream")
		require.Equal(t, "stdout", stream.Str())
	}
	require.Equal(t, []string{"stdout-1-1", "stderr-1-1", "stdout-1-2", "stderr-1-2", strings.Repeat("x", 20_000), "after"}, bodies)
	c.Stop(10)
	r.awaitLines(c.ID, 20)
	r.requireExact(c)
	r.stop()
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	inBothModes(t, testAttributes)
}

func testAttributes(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 1}, script.Wait{}}})
	r := newRig(t, nil)
	r.start()
	r.awaitLines(c.ID, 1)
	resource := r.records(c.ID)[0].Resource
	require.Equal(t, c.ID, resource["container.id"])
	require.Equal(t, c.Name, resource["container.name"])
	repository, tag, _ := strings.Cut(c.Image, ":")
	require.Equal(t, repository, resource["container.image.name"])
	require.Equal(t, []any{tag}, resource["container.image.tags"])
	require.Equal(t, c.Inspect().Image, resource["container.image.id"])
	require.Equal(t, "docker", resource["container.runtime.name"])
	require.NotEmpty(t, resource["host.name"])
	log := r.records(c.ID)[0].Log
	require.Zero(t, log.SeverityNumber(), "stderr is no error and stdout no information")
	require.Less(t, time.Since(log.ObservedTimestamp().AsTime()), time.Minute)
	r.stop()
}

func TestCleanRestartsRepeatAndLoseNothing(t *testing.T) {
	t.Parallel()
	inBothModes(t, testCleanRestartsRepeatAndLoseNothing)
}

func testCleanRestartsRepeatAndLoseNothing(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 4000, PerSecond: 1500}, script.Raw{Data: []byte(strings.Repeat("long", 20_000) + "\n")}, script.Wait{},
	}})
	r := newRig(t, nil)
	for i := range 10 {
		r.start()
		r.awaitLines(c.ID, 300*(i+1))
		r.stop()
	}
	r.start()
	r.awaitLines(c.ID, 8001)
	r.requireExact(c)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// Row 42: nothing is taken as delivered that was refused.
func TestRefusedDeliveriesAreRepeatedAfterARestart(t *testing.T) {
	t.Parallel()
	inBothModes(t, testRefusedDeliveriesAreRepeatedAfterARestart)
}

func testRefusedDeliveriesAreRepeatedAfterARestart(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 1000, PerSecond: 1000}, script.Wait{}}})
	r := newRig(t, nil)
	r.start()
	r.awaitLines(c.ID, 100)
	r.consumer.Answer(func(context.Context, plog.Logs) error { return errors.New("not now") })
	before := len(r.records(c.ID))
	waitFor(t, "retries", func() bool { return r.metric("logcapture_retries") > 2 })
	r.stop()
	require.Len(t, r.records(c.ID), before)
	r.consumer.Answer(nil)
	r.start()
	r.awaitLines(c.ID, 1000)
	r.requireExact(c)
	r.stop()
}

// Row 18 and 19: what ran and ended while the receiver was down.
func TestContainersThatEndWhileTheReceiverIsDown(t *testing.T) {
	t.Parallel()
	inBothModes(t, testContainersThatEndWhileTheReceiverIsDown)
}

func testContainersThatEndWhileTheReceiverIsDown(t *testing.T) {
	t.Parallel()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Count: 10}, script.Exit{},
	}})
	r := newRig(t, nil)
	r.start()
	r.awaitLines(c.ID, 10)
	r.stop()
	c.Signal("USR1")
	c.WaitExit(patience)
	other := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 10}}})
	other.WaitExit(patience)
	r.start()
	for _, c := range []*dockertest.Container{c, other} {
		r.requireExact(c)
	}
	waitFor(t, "end of the streams", func() bool { return r.metric("logcapture_containers_followed") == 0 })
	r.stop()
	r.start() // nothing of them is new
	waitFor(t, "the engine's answer", func() bool { return r.metric("logcapture_containers_followed") == 0 })
	r.requireExact(c)
	r.requireExact(other)
	r.stop()
}

// Row 2: nothing old, and all that is new, also where the container has a history.
func TestStartAtEnd(t *testing.T) {
	t.Parallel()
	inBothModes(t, testStartAtEnd)
}

func testStartAtEnd(t *testing.T) {
	t.Parallel()
	spec := dockertest.Spec{Steps: []script.Step{
		script.Lines{Count: 500}, script.Wait{Signal: "USR1"}, script.Raw{Data: []byte("new\n")}, script.Wait{Signal: "TERM"},
	}}
	spec.Name = name(t)
	c := dockertest.Run(t, spec)
	spec.Name = name(t)
	stopped := dockertest.Run(t, spec)
	waitFor(t, "history", func() bool { return len(c.Logs()) == 500 && len(stopped.Logs()) == 500 })
	stopped.Stop(10)
	r := newRig(t, func(c *Config) { c.StartAt = startAtEnd })
	r.start()
	c.Signal("USR1")
	r.awaitLines(c.ID, 1)
	later := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 10}, script.Wait{}}})
	r.awaitLines(later.ID, 10)
	r.requireExact(later)
	require.Equal(t, "new", r.records(c.ID)[0].Body)
	require.Zero(t, len(r.records(stopped.ID)))
	stopped.Start()
	r.awaitLines(stopped.ID, 500)
	for i, record := range r.records(stopped.ID) {
		require.Equal(t, fmt.Sprintf("stdout-2-%d", i+1), record.Body, "the first run was before")
	}
	r.stop()
}

// Lines that are written while the receiver is down are not skipped, also where nothing came before: of a container that was there at the
// receiver's start, and of one that was started later.
func TestStartAtEndSkipsNothingOverARestart(t *testing.T) {
	t.Parallel()
	inBothModes(t, testStartAtEndSkipsNothingOverARestart)
}

func testStartAtEndSkipsNothingOverARestart(t *testing.T) {
	t.Parallel()
	run := func(first string) *dockertest.Container {
		return dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
			raw("", first), script.Wait{Signal: "USR1"}, raw("", "between\n"), script.Wait{},
		}})
	}
	old := run("history\n")
	waitFor(t, "the history", func() bool { return len(old.Logs()) == 1 })
	r := newRig(t, func(c *Config) { c.StartAt = startAtEnd })
	r.start()
	awaitUp(r)
	silent := run("")
	containers := []*dockertest.Container{old, silent}
	for _, c := range containers {
		waitFor(t, "its log is followed", func() bool { return r.open(c.ID) })
	}
	r.stop()
	for _, c := range containers {
		waitFor(t, "the line", func() bool { // a process that has just begun is deaf
			c.Signal("USR1")
			logs := c.Logs()
			return len(logs) > 0 && logs[len(logs)-1].Text == "between"
		})
	}
	r.start()
	for _, c := range containers {
		r.awaitLines(c.ID, 1)
		require.Len(t, r.records(c.ID), 1)
		require.Equal(t, "between", r.records(c.ID)[0].Body)
	}
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// Containers that are made while the receiver is down are read from their beginning, also where they have ended by then; those that it
// found at its first start and that wrote nothing since are not read again.
func TestStartAtEndSkipsNoContainerOfADowntime(t *testing.T) {
	t.Parallel()
	inBothModes(t, testStartAtEndSkipsNoContainerOfADowntime)
}

func testStartAtEndSkipsNoContainerOfADowntime(t *testing.T) {
	t.Parallel()
	create := func() *dockertest.Container {
		return dockertest.Create(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 3}, script.Wait{Signal: "TERM"}}})
	}
	run := func() *dockertest.Container {
		c := create()
		c.Start()
		return c
	}
	old, ended, unused := run(), run(), create()
	waitFor(t, "history", func() bool { return len(old.Logs()) == 3 && len(ended.Logs()) == 3 })
	ended.Stop(10)
	r := newRig(t, func(c *Config) { c.StartAt = "1ms" })
	r.start()
	awaitUp(r)
	waitFor(t, "its log is followed", func() bool { return r.open(old.ID) })
	r.awaitSettled(ended.ID)
	r.stop()
	require.Contains(t, r.positions(), firstStartKey(engineID(t)))
	came, went := run(), run()
	unused.Start() // it was there, but had no lines
	waitFor(t, "lines", func() bool { return len(came.Logs()) == 3 && len(went.Logs()) == 3 && len(unused.Logs()) == 3 })
	went.Stop(10)
	for range 2 {
		r.start()
		for _, c := range []*dockertest.Container{came, went, unused} {
			r.awaitLines(c.ID, 3)
			r.requireExact(c)
		}
		waitFor(t, "its log is followed", func() bool { return r.open(old.ID) })
		r.awaitSettled(ended.ID)
		r.stop()
	}
	require.Zero(t, len(r.records(old.ID)))
	require.Zero(t, len(r.records(ended.ID)))
	require.Contains(t, r.positions(), firstStartKey(engineID(t)))
}

func engineID(t *testing.T) string {
	info, err := dockertest.Client(t).Info(t.Context())
	require.NoError(t, err)
	return info.ID
}

// The lag grows while the pipeline takes nothing, also when the connection was closed for that, and is 0 again afterwards.
func TestLagIsThatOfTheOldestLineThatWaits(t *testing.T) {
	t.Parallel()
	inBothModes(t, testLagIsThatOfTheOldestLineThatWaits)
}

func testLagIsThatOfTheOldestLineThatWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	b := newBlock()
	r.consumer.Answer(b.answer)
	r.start()
	require.Zero(t, r.metric("logcapture_containers_lag"))
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 1000, PerSecond: 1000}, script.Wait{}}})
	waitFor(t, "a lag", func() bool { return r.metric("logcapture_containers_lag") >= 3 })
	b.open()
	r.awaitLines(c.ID, 1000)
	waitFor(t, "the end of the lag", func() bool { return r.metric("logcapture_containers_lag") == 0 })
	r.stop()
}

func TestLogsThatGrowOrLoseLinesAreTold(t *testing.T) {
	t.Parallel()
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{}) // whose configuration sets nothing
	engine.Start()
	r := newRig(t, func(c *Config) { c.Endpoint = engine.Host() })
	r.start()
	told := map[string]string{}
	for _, options := range []map[string]string{nil, {"mode": "non-blocking"}, {"max-size": "1m"}} {
		c := dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Name: name(t), LogDriver: "json-file", LogOpts: options, Steps: []script.Step{
			script.Lines{Count: 1}, script.Wait{Signal: "TERM"},
		}})
		r.awaitLines(c.ID, 1)
		told[c.ID] = fmt.Sprint(options == nil, options["mode"] != "")
	}
	for id, want := range told {
		of := r.logs.FilterField(zap.String("container", id))
		unbound, dropping := of.FilterMessageSnippet("grows without bound"), of.FilterMessageSnippet("non-blocking")
		require.Equal(t, want, fmt.Sprint(unbound.Len() == 1, dropping.Len() == 1), id)
		require.Equal(t, unbound.Len()+dropping.Len(), of.Len())
	}
	r.stop()
}
