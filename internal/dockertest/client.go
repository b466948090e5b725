// Package dockertest runs real containers for tests: a client of the engine at hand, an image whose one program writes
// logs as told (see package script), containers that are removed when the test ends, the engine's own record of what
// they wrote, and second engines that a test may kill.
//
// Nothing here starts goroutines. All functions are to be called from the test's goroutine, since they end the test
// when they cannot do their work; the methods of Container and Engine are safe for concurrent use only where they say so.
package dockertest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// callTimeout bounds each single request to the engine; a loaded machine takes seconds to start a container.
const callTimeout = 60 * time.Second

// Client returns a client of the engine that DOCKER_HOST (or its default) names, closed when the test ends. Without an
// answer the test is skipped, and where CI=true it fails: there an engine has to be.
func Client(t testing.TB) *client.Client {
	t.Helper()
	cli := newClient(t)
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	if _, err := cli.Ping(ctx); err != nil {
		Unavailable(t, "no Docker Engine answers at %s: %v", cli.DaemonHost(), err)
	}
	return cli
}

// Unavailable ends a test that the machine cannot run: it is skipped with a message that says so, and fails where
// CI=true.
func Unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("NOT TESTED, and CI=true asks for it: "+format, args...)
	}
	t.Skipf("NOT TESTED: "+format, args...)
}

func newClient(t testing.TB, opts ...client.Opt) *client.Client {
	t.Helper()
	cli, err := client.NewClientWithOpts(append([]client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}, opts...)...)
	if err != nil {
		t.Fatalf("create docker client: %v", err)
	}
	t.Cleanup(func() { _ = cli.Close() })
	return cli
}

// callContext bounds one request. It outlives the test's own context, because clean-up needs the engine too.
func callContext(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), callTimeout)
}
