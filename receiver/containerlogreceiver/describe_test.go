package containerlogreceiver

import (
	"fmt"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

const undescribed = "does not describe a container"

// A proxy that lets no inspect through: containers are read exactly all the same, over all that happens to them, and it is told once.
func TestContainersAreReadWithoutInspect(t *testing.T) {
	t.Parallel()
	inBothModes(t, testContainersAreReadWithoutInspect)
}

func testContainersAreReadWithoutInspect(t *testing.T) {
	t.Parallel()
	endpoint, asked := countRequests(t)
	asked.noInspect.Store(true)
	steps := []script.Step{
		script.Lines{Stream: script.Both, Count: 500, PerSecond: 5000}, raw("", "last\n"), script.Wait{Signal: "TERM"}, script.Lines{Count: 10},
	}
	base := name(t)
	spec := func(suffix string) dockertest.Spec {
		return dockertest.Spec{
			Name: base + suffix, Steps: steps, TTY: suffix == "-tty", Env: []string{"OTEL_SERVICE_NAME=hidden"},
			Labels: map[string]string{composeService: "shop", composeProject: "mall"},
		}
	}
	ended := dockertest.Run(t, spec("-ended"))
	waitFor(t, "its lines", func() bool { return len(ended.Logs()) == 1001 })
	ended.Stop(10)
	all := []*dockertest.Container{ended, dockertest.Run(t, spec("-before"))}
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names, c.ResyncInterval = endpoint, []string{prefixFor(t) + "-*"}, 100*time.Millisecond
	})
	r.start()
	awaitUp(r)
	all = append(all, dockertest.Run(t, spec("-later")), dockertest.Run(t, spec("-tty")))
	for _, c := range all {
		r.awaitLines(c.ID, 1001)
		r.requireExact(c)
	}
	for _, c := range all[1:] {
		c.Restart(10)
		r.awaitLines(c.ID, 2*1001+10)
	}
	all[1].Stop(10)
	r.awaitLines(all[1].ID, 2*1001+20)
	r.stop()
	require.Equal(t, 1, r.logs.FilterMessageSnippet(undescribed).Len(), "it is told once")
	r.start()
	r.awaitEndedStreams(2)
	for _, c := range all {
		r.requireExact(c)
		resource := r.records(c.ID)[0].Resource
		for key, want := range map[string]any{
			"container.name": c.Name, "container.image.name": imageOf(c), "service.name": "shop", "service.namespace": "mall", "container.label." + composeService: "shop",
		} {
			require.Equal(t, want, resource[key], "%s of %s", key, c.Name)
		}
	}
	require.Zero(t, r.metric("logcapture_gaps"))
	lists, logs := asked.lists.Load(), asked.logs.Load()
	waitFor(t, "more lists", func() bool { return asked.lists.Load() > lists+10 })
	require.Less(t, asked.logs.Load(), logs+10, "those that have ended are asked for once")
	r.stop()
}

// awaitEndedStreams waits until all containers but so many are read to their end.
func (r *rig) awaitEndedStreams(remain int64) {
	r.t.Helper()
	awaitUp(r)
	waitFor(r.t, "the end of the others", func() bool { return r.metric("logcapture_containers_followed") == remain })
}

func imageOf(c *dockertest.Container) string {
	name, _ := imageName(c.Image)
	return name
}

// A container of which only an inspect can tell whether it is to be read is not asked for its log, as long as there is none.
func TestContainersAreNotSelectedWithoutInspectWhereItDecides(t *testing.T) {
	t.Parallel()
	endpoint, asked := countRequests(t)
	asked.noInspect.Store(true)
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names, c.Exclude.LogDrivers = endpoint, []string{prefixFor(t) + "-*"}, []string{"local"}
	})
	r.start()
	awaitUp(r)
	spec := dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 3}, script.Wait{}}}
	c := dockertest.Run(t, spec)
	spec.Name = name(t)
	gone := dockertest.Run(t, spec)
	f := r.receiver.(*containerLog).follower
	waitFor(t, "both are known", func() bool { return f.get(c.ID) != nil && f.get(gone.ID) != nil })
	waitFor(t, "a warning", func() bool { return r.logs.FilterMessageSnippet("its log is not read before").Len() > 0 })
	gone.Remove()
	waitFor(t, "the removed one is let go", func() bool { return f.get(gone.ID) == nil })
	require.Zero(t, asked.logs.Load())
	asked.noInspect.Store(false)
	r.awaitLines(c.ID, 3)
	r.requireExact(c)
	require.Equal(t, 1, r.logs.FilterMessageSnippet(undescribed).Len())
	r.stop()
}

// An engine that is stuck with one container answers everything about it but inspects (a lock that is not given back), or with an error.
func TestInspectThatNeverWorks(t *testing.T) {
	t.Parallel()
	t.Run("with an error", func(t *testing.T) {
		t.Parallel()
		e := newFakeEngine(t, nil)
		r := newFakeRig(t, e, func(c *Config) { c.ResyncInterval = 100 * time.Millisecond })
		r.start()
		awaitUp(r)
		c := e.run(&fakeContainer{name: "web", driver: "json-file", env: []string{"OTEL_SERVICE_NAME=shop"}, mute: 1 << 30})
		e.write(c, "one", "two")
		r.awaitLines(c.id, 2)
		require.Equal(t, "web", r.records(c.id)[0].Resource["service.name"])
		require.Equal(t, 1, r.logs.FilterMessageSnippet(undescribed).Len())
		e.change(func() { c.mute = 0 })
		for i := 3; r.records(c.id)[i-2].Resource["service.name"] != "shop"; i++ {
			require.Less(t, i, 1000, "it is described by now")
			e.write(c, fmt.Sprint(i))
			r.awaitLines(c.id, i)
		}
		e.end(c, container.StateExited)
		waitFor(t, "the end of the stream", func() bool { return r.metric("logcapture_containers_followed") == 0 })
		want := []string{"one", "two"}
		for i := 3; i <= len(c.log); i++ {
			want = append(want, fmt.Sprint(i))
		}
		require.Equal(t, want, r.bodies(c))
		r.stop()
	})
	t.Run("without an answer", func(t *testing.T) {
		t.Parallel()
		e := newFakeEngine(t, nil)
		r := newFakeRig(t, e, nil)
		r.start()
		awaitUp(r)
		c := e.run(&fakeContainer{stuck: true})
		e.write(c, "one")
		waitFor(t, "the log is open", func() bool { return e.logsRequests(c) == 1 })
		began := time.Now()
		waitFor(t, "it is not held open, unread", func() bool { return e.openLogs(c) == 0 })
		r.awaitLines(c.id, 1)
		require.Less(t, time.Since(began), callTimeout/2)
		r.stop()
	})
}
