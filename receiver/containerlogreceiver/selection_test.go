package containerlogreceiver

import (
	"context"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// A list has only the id of a container's image when the tag that it was made by is another image's by now.
func TestContainersAreSelectedByAnImageWhoseTagHasMoved(t *testing.T) {
	t.Parallel()
	cli := dockertest.Client(t)
	reference := name(t) + ":latest"
	require.NoError(t, cli.ImageTag(t.Context(), dockertest.Image(t), reference))
	t.Cleanup(func() {
		_, err := cli.ImageRemove(context.WithoutCancel(t.Context()), reference, image.RemoveOptions{Force: true})
		require.NoError(t, err)
	})
	steps := []script.Step{script.Lines{Count: 3}, script.Wait{}}
	arguments, err := script.Args(steps)
	require.NoError(t, err)
	tagged := dockertest.Run(t, dockertest.Spec{Name: name(t), Image: reference, Command: arguments})
	other := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: steps})
	_, err = cli.ContainerCommit(t.Context(), tagged.ID, container.CommitOptions{Reference: reference})
	require.NoError(t, err)

	included := newRig(t, func(c *Config) { c.Include.Images = []string{reference} })
	excluded := newRig(t, func(c *Config) { c.Exclude.Images = []string{reference} })
	included.start()
	excluded.start()
	included.awaitLines(tagged.ID, 3)
	excluded.awaitLines(other.ID, 3)
	excluded.awaitSettledOut(tagged.ID)
	require.Zero(t, len(excluded.records(tagged.ID)))
	require.Zero(t, len(included.records(other.ID)))
	repository, _ := imageName(reference)
	require.Equal(t, repository, included.records(tagged.ID)[0].Resource["container.image.name"])
	included.stop()
	excluded.stop()
}

// Labels may have the keys under which an event has the container's own name and image.
func TestContainersAreSelectedByLabelsThatEventsHide(t *testing.T) {
	t.Parallel()
	included := newRig(t, func(c *Config) { c.Include.Labels = []string{"name=x"} })
	excluded := newRig(t, func(c *Config) { c.Exclude.Labels = []string{"name=x", "image"} })
	run := func(labels map[string]string) *dockertest.Container {
		return dockertest.Run(t, dockertest.Spec{Name: name(t), Labels: labels, Steps: []script.Step{script.Lines{Count: 3}, script.Wait{}}})
	}
	found := run(map[string]string{"name": "x"})
	included.start()
	excluded.start()
	awaitUp(included)
	awaitUp(excluded)
	started, plain := run(map[string]string{"name": "x"}), run(nil)
	excluded.awaitLines(plain.ID, 3)
	excluded.awaitSettledOut(started.ID)
	for _, c := range []*dockertest.Container{found, started} {
		included.awaitLines(c.ID, 3)
		require.Zero(t, len(excluded.records(c.ID)))
	}
	included.awaitSettledOut(plain.ID)
	require.Zero(t, len(included.records(plain.ID)))
	included.stop()
	excluded.stop()
}

// A list has a container that others link to under several names, in any order, and again each time.
func TestContainerThatIsLinkedKeepsItsName(t *testing.T) {
	t.Parallel()
	e := newFakeEngine(t, nil)
	c := e.run(&fakeContainer{name: "db", links: []string{"/web/db", "/shop/store"}})
	r := newFakeRig(t, e, func(c *Config) { c.Include.Names = []string{"db"} })
	r.start()
	awaitUp(r)
	e.write(c, "one")
	r.awaitLines(c.id, 1)
	r.stop()
	r.start() // it is listed once more
	awaitUp(r)
	e.write(c, "two")
	r.awaitLines(c.id, 2)
	for _, record := range r.records(c.id) {
		require.Equal(t, "db", record.Resource["container.name"])
	}
	r.stop()
}
