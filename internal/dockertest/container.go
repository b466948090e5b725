package dockertest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Spec says which container to run. Only Steps is needed.
type Spec struct {
	// Steps is what the log writer does; it ends with code 0 after the last one.
	Steps []script.Step
	// Name is the container's name; Unique makes one that no other test has. Empty: the engine makes one up.
	Name   string
	TTY    bool
	Labels map[string]string
	Env    []string
	// LogDriver and LogOpts (max-size, max-file, …) are the engine's defaults when empty.
	LogDriver string
	LogOpts   map[string]string
	// AutoRemove is docker run --rm.
	AutoRemove bool
	// Restart is a restart policy: always, unless-stopped, on-failure.
	Restart string
	// Image runs another image, with its entrypoint and Command as its arguments instead of Steps.
	Image   string
	Command []string
	// Adjust changes what has no field here, right before the container is created.
	Adjust func(*container.Config, *container.HostConfig)
	// Client is of the engine to use; nil: the one of function Client.
	Client *client.Client
}

// Container is a container made by Create or Run.
type Container struct {
	ID, Name, Image string

	t   testing.TB
	cli *client.Client
}

// Unique appends a random suffix to a name or a prefix of names, so that tests that run at the same time do not meet.
func Unique(prefix string) string {
	return prefix + "-" + strings.ToLower(rand.Text()[:8])
}

// Run creates and starts a container, removed when the test ends.
func Run(t testing.TB, spec Spec) *Container {
	t.Helper()
	c := Create(t, spec)
	c.Start()
	return c
}

// Create makes a container without network that does not run yet, removed when the test ends.
func Create(t testing.TB, spec Spec) *Container {
	t.Helper()
	cli := spec.Client
	if cli == nil {
		cli = Client(t)
	}
	if spec.Image == "" {
		spec.Image = imageOn(t, cli)
		args, err := script.Args(spec.Steps)
		if err != nil {
			t.Fatal(err)
		}
		spec.Command = args
	}
	config := &container.Config{
		Image: spec.Image, Cmd: spec.Command, Tty: spec.TTY, Labels: spec.Labels, Env: spec.Env,
	}
	host := &container.HostConfig{
		NetworkMode:   "none",
		AutoRemove:    spec.AutoRemove,
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(spec.Restart)},
		LogConfig:     container.LogConfig{Type: spec.LogDriver, Config: spec.LogOpts},
	}
	if spec.Adjust != nil {
		spec.Adjust(config, host)
	}
	ctx, cancel := callContext(t)
	defer cancel()
	created, err := cli.ContainerCreate(ctx, config, host, nil, nil, spec.Name)
	if err != nil {
		t.Fatalf("create container %q: %v", spec.Name, err)
	}
	c := &Container{ID: created.ID, Image: spec.Image, t: t, cli: cli}
	t.Cleanup(c.Remove)
	c.Name = strings.TrimPrefix(c.Inspect().Name, "/")
	return c
}

// Start starts the container.
func (c *Container) Start() {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	c.check("start", c.cli.ContainerStart(ctx, c.ID, container.StartOptions{}))
}

// Stop sends SIGTERM, and SIGKILL after the seconds given.
func (c *Container) Stop(seconds int) {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	c.check("stop", c.cli.ContainerStop(ctx, c.ID, container.StopOptions{Timeout: &seconds}))
}

// Restart is Stop and Start in one request, with the same id.
func (c *Container) Restart(seconds int) {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	c.check("restart", c.cli.ContainerRestart(ctx, c.ID, container.StopOptions{Timeout: &seconds}))
}

// Signal sends a signal: TERM, USR1, KILL, ….
func (c *Container) Signal(name string) {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	c.check("signal", c.cli.ContainerKill(ctx, c.ID, name))
}

// Pause freezes all processes of the container.
func (c *Container) Pause() {
	c.t.Helper()
	c.insist("pause", c.cli.ContainerPause)
}

// Unpause is the inverse of Pause.
func (c *Container) Unpause() {
	c.t.Helper()
	c.insist("unpause", c.cli.ContainerUnpause)
}

// insist does what the engine refuses for a moment: it takes what containerd tells it of a pause for the state, and that can come when the
// container goes on already.
func (c *Container) insist(what string, do func(context.Context, string) error) {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	err := do(ctx, c.ID)
	for err != nil && strings.Contains(err.Error(), "paused") && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
		err = do(ctx, c.ID)
	}
	c.check(what, err)
}

// Rename gives the container another name.
func (c *Container) Rename(name string) {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	c.check("rename", c.cli.ContainerRename(ctx, c.ID, name))
	c.Name = name
}

// Remove kills and removes the container; it is no error when it is gone already.
func (c *Container) Remove() {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	err := c.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return // a conflict is a removal in progress, as with AutoRemove
	}
	if client.IsErrConnectionFailed(err) {
		return // an Engine that the test has ended; it takes its containers away itself
	}
	c.t.Errorf("remove container %s: %v", c.Name, err)
}

// Inspect returns what the engine knows about the container.
func (c *Container) Inspect() container.InspectResponse {
	c.t.Helper()
	ctx, cancel := callContext(c.t)
	defer cancel()
	info, err := c.cli.ContainerInspect(ctx, c.ID)
	c.check("inspect", err)
	return info
}

// WaitExit waits until the container does not run and returns its exit code.
func (c *Container) WaitExit(limit time.Duration) int {
	c.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		state := c.Inspect().State
		if state.Status == container.StateExited || state.Status == container.StateDead {
			return state.ExitCode
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("container %s is still %q after %v", c.Name, state.Status, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *Container) check(verb string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s container %s (%.12s): %v", verb, c.Name, c.ID, err)
	}
}
