//go:build linux

package logcapture

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver"
	"github.com/logcapture/logcapture/receiver/filetailreceiver"
)

// used is what a leak would add to.
type used struct{ goroutines, files, connections int }

// use counts what this process has, and what the engine has of it.
func use(t *testing.T, engine *dockertest.Engine) used {
	t.Helper()
	require.NoError(t, engine.Client().Close()) // connections of the test's own
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	u := used{goroutines: runtime.NumGoroutine(), files: len(files)}
	table, err := os.ReadFile("/proc/net/unix")
	require.NoError(t, err)
	for line := range strings.Lines(string(table)) {
		// Num RefCount Protocol Flags Type St Inode Path; state 3 is connected. The engine's end has the path.
		if f := strings.Fields(line); len(f) == 8 && f[7] == engine.Socket() && f[5] == "03" {
			u.connections++
		}
	}
	return u
}

// settledUse is what is used when nothing of it is on its way out: the test's own connections need a moment.
func settledUse(t *testing.T, engine *dockertest.Engine) (u used) {
	t.Helper()
	capturetest.WaitFor(t, "the same over a tenth of a second", func() bool {
		before := use(t, engine)
		for range 10 {
			time.Sleep(10 * time.Millisecond)
			if u = use(t, engine); u != before {
				return false
			}
		}
		return u.connections == 0
	})
	return u
}

// TestThousandCycles starts and shuts down both receivers a thousand times in one process, as reloads of a collector do, while
// containers and a file are being written. Nothing is left of it, and every line has come once.
func TestThousandCycles(t *testing.T) {
	const cycles, lines, fileLines = 1000, 8000, 5
	const grace = "5m" // nothing takes that long, so a shutdown that waits for it is told from a machine that is busy
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{})
	engine.Start()
	dir := t.TempDir()
	host := capturetest.NewHost(t, t.TempDir())
	fromContainers, fromFiles := &capturetest.Consumer{}, &capturetest.Consumer{}
	newBoth := func() []receiver.Logs {
		return []receiver.Logs{
			create(t, containerlogreceiver.NewFactory(), map[string]any{
				"endpoint": engine.Host(), "storage": "file_storage", "shutdown_grace": grace,
			}, fromContainers),
			create(t, filetailreceiver.NewFactory(), map[string]any{
				"include": []string{dir + "/*.log"}, "start_at": "beginning", "storage": "file_storage", "shutdown_grace": grace,
			}, fromFiles),
		}
	}
	var all []*dockertest.Container
	for range 3 {
		all = append(all, dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: []script.Step{
			script.Lines{Stream: script.Both, Count: lines, PerSecond: 300}, script.Wait{Signal: "TERM"},
		}}))
	}
	before := settledUse(t, engine)
	for i := range cycles {
		appendLines(t, filepath.Join(dir, "a.log"), i*fileLines, fileLines)
		both := newBoth()
		for _, r := range both {
			require.NoError(t, r.Start(t.Context(), host))
		}
		if i%50 == 0 { // most are shut down somewhere on the way to this
			capturetest.WaitFor(t, "the lines of the file", func() bool { return fromFiles.Len() == (i+1)*fileLines })
		} else {
			time.Sleep(rand.N(30 * time.Millisecond)) // the moment is the matter here
		}
		for _, r := range both {
			began := time.Now()
			require.NoError(t, r.Shutdown(t.Context()))
			require.Less(t, time.Since(began), capturetest.Patience)
		}
	}
	after := settledUse(t, engine)
	require.Equal(t, before, after)
	t.Logf("before and after %d cycles: %+v", cycles, after)

	both := newBoth()
	for _, r := range both {
		require.NoError(t, r.Start(t.Context(), host))
	}
	capturetest.WaitFor(t, "all lines of the file", func() bool { return fromFiles.Len() >= cycles*fileLines })
	for _, c := range all {
		deadline := time.Now().Add(2 * time.Minute)
		for len(c.Logs()) < 2*lines && time.Now().Before(deadline) {
			time.Sleep(100 * time.Millisecond)
		}
	}
	capturetest.WaitFor(t, "all lines of the containers", func() bool { return fromContainers.Len() >= len(all)*2*lines })
	for _, r := range both {
		require.NoError(t, r.Shutdown(t.Context()))
	}
	for i, body := range fromFiles.Bodies() {
		require.Equal(t, fmt.Sprintf("line %d", i), body)
	}
	for _, c := range all {
		sameLines(t, c, fromContainers.Records())
	}
}

func create(t *testing.T, factory receiver.Factory, keys map[string]any, next *capturetest.Consumer) receiver.Logs {
	t.Helper()
	config := factory.CreateDefaultConfig()
	require.NoError(t, confmap.NewFromStringMap(keys).Unmarshal(config))
	require.NoError(t, confmap.Validate(config))
	settings := receivertest.NewNopSettings(factory.Type())
	settings.ID = component.NewID(factory.Type()) // positions belong to the id
	r, err := factory.CreateLogs(t.Context(), settings, config, next)
	require.NoError(t, err)
	return r
}

func appendLines(t *testing.T, path string, first, n int) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	for i := range n {
		_, err = fmt.Fprintf(f, "line %d\n", first+i)
		require.NoError(t, err)
	}
}

// sameLines holds what came of a container against the engine's log, stream by stream.
func sameLines(t *testing.T, c *dockertest.Container, records []capturetest.Record) {
	t.Helper()
	want, got := map[string][]string{}, map[string][]string{}
	for _, entry := range c.Logs() {
		want[entry.Stream] = append(want[entry.Stream], entry.Stamp.UTC().String()+entry.Text)
	}
	for _, r := range records {
		if r.Resource["container.id"] == c.ID {
			stream, _ := r.Log.Attributes().Get("log.iostream")
			got[stream.Str()] = append(got[stream.Str()], r.Log.Timestamp().AsTime().String()+r.Body)
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for stream := range want {
		require.Len(t, got[stream], len(want[stream]), "%s of %s", stream, c.Name)
		require.True(t, slices.Equal(want[stream], got[stream]), "%s of %s", stream, c.Name)
	}
}
