package containerlogreceiver

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// inBothModes runs a test once with the engine's API and once with its files. The mode is a part of the test's name.
func inBothModes(t *testing.T, test func(t *testing.T)) {
	for _, mode := range []string{readAPI, readFiles} {
		t.Run(mode, func(t *testing.T) {
			if mode == readFiles {
				needFiles(t)
			}
			test(t)
		})
	}
}

// modeOf returns the mode of a test, which is the API where the test does not run in both.
func modeOf(t *testing.T) string {
	if slices.Contains(strings.Split(t.Name(), "/"), readFiles) {
		return readFiles
	}
	return readAPI
}

// needFiles is for tests that read the engine's files.
func needFiles(t *testing.T) {
	t.Helper()
	info, err := dockertest.Client(t).Info(t.Context())
	require.NoError(t, err)
	if _, err := os.ReadDir(filepath.Join(info.DockerRootDir, "containers")); err != nil {
		dockertest.Unavailable(t, "the engine's files are not readable here: %v", err)
	}
}

// modes returns how many containers are read in each mode.
func (r *rig) modes() map[string]int64 {
	r.t.Helper()
	modes := map[string]int64{}
	m, err := r.telemetry.GetMetric("otelcol_logcapture_container_modes")
	if err != nil {
		return modes
	}
	for _, point := range m.Data.(metricdata.Gauge[int64]).DataPoints {
		mode, _ := point.Attributes.Value(attribute.Key("mode"))
		modes[mode.AsString()] = point.Value
	}
	return modes
}

func TestWhereLogsAreReadFrom(t *testing.T) {
	needFiles(t)
	steps := []script.Step{script.Lines{Count: 3}, script.Wait{}}
	base := name(t)
	stored := dockertest.Run(t, dockertest.Spec{Name: base + "-stored", Steps: steps})
	other := dockertest.Run(t, dockertest.Spec{Name: base + "-other", LogDriver: "local", Steps: steps})
	empty := t.TempDir()
	mapped := filepath.Join(t.TempDir(), "host")
	require.NoError(t, os.Symlink("/", mapped))
	another := t.TempDir()
	info, err := dockertest.Client(t).Info(t.Context())
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(another, info.DockerRootDir, "containers"), 0o700))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	newProxyOn(t, listener, dockertest.Client(t).DaemonHost())
	remote := "tcp://" + listener.Addr().String()
	for variant, tt := range map[string]struct {
		adjust     func(*Config)
		api, files int64
	}{
		"by default":                             {func(c *Config) { c.ReadFrom = createDefaultConfig().(*Config).ReadFrom }, 1, 1},
		"api":                                    {func(c *Config) { c.ReadFrom = readAPI }, 2, 0},
		"files, of which one container has none": {func(c *Config) { c.ReadFrom = readFiles }, 1, 1},
		"files that are not here":                {func(c *Config) { c.ReadFrom, c.RootPath = readFiles, empty }, 2, 0},
		"the host's files are elsewhere":         {func(c *Config) { c.ReadFrom, c.RootPath = readAuto, mapped }, 1, 1},
		"auto with a remote engine":              {func(c *Config) { c.ReadFrom, c.Endpoint = readAuto, remote }, 2, 0},
		"files with an engine by tcp":            {func(c *Config) { c.ReadFrom, c.Endpoint = readFiles, remote }, 1, 1},
		"auto with a remote engine and its root": {func(c *Config) { c.ReadFrom, c.Endpoint, c.RootPath = readAuto, remote, mapped }, 1, 1},
		"auto without the files":                 {func(c *Config) { c.ReadFrom, c.RootPath = readAuto, empty }, 2, 0},
		"auto with those of another engine":      {func(c *Config) { c.ReadFrom, c.RootPath = readAuto, another }, 2, 0},
	} {
		t.Run(variant, func(t *testing.T) {
			r := newRig(t, func(c *Config) {
				c.Include.Names, c.Endpoint = []string{base + "-*"}, dockertest.Client(t).DaemonHost()
				tt.adjust(c)
			})
			r.start()
			r.awaitLines(stored.ID, 3)
			r.awaitLines(other.ID, 3)
			require.Equal(t, map[string]int64{readAPI: tt.api, readFiles: tt.files}, r.modes())
			r.requireExact(stored)
			r.requireExact(other)
			advised := 0
			if strings.HasPrefix(variant, "auto") && tt.files == 0 && !strings.HasSuffix(variant, "remote engine") {
				advised = 1
			}
			require.Equal(t, advised, r.logs.FilterMessageSnippet("files cannot be read here").Len(), "it is said once, at level info")
			r.stop()
		})
	}
}

func TestFilesThatCannotBeSeenAtAll(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "containers", "id"), 0o700))
	for _, tt := range []struct {
		directory, id string
		err           error
		want          bool
	}{
		{"containers", "id", fs.ErrNotExist, false}, // it is about to be made
		{"containers", "id", fs.ErrPermission, true},
		{"containers", "other", fs.ErrNotExist, true}, // another engine's
		{"elsewhere", "id", fs.ErrNotExist, true},
	} {
		require.Equal(t, tt.want, unseen(fmt.Errorf("open: %w", tt.err), filepath.Join(root, tt.directory, tt.id, "id-json.log")), "%+v", tt)
	}
}

// TestModeChangesOverRestarts: the position of one mode is that of the other, in the middle of bursts, of long lines and of rotations.
// Docker 20.10 itself skips a file where a log is asked for while it is rotated or compressed, so that its log rotates slowly here.
func TestModeChangesOverRestarts(t *testing.T) {
	t.Parallel()
	needFiles(t)
	for variant, tt := range map[string]struct {
		options map[string]string
		modes   []string
	}{
		"in turn":             {map[string]string{"max-size": "1m", "max-file": "10"}, []string{readAPI, readFiles}},
		"files":               {map[string]string{"max-size": "300k", "max-file": "40"}, []string{readFiles}},
		"files, compressed":   {map[string]string{"max-size": "300k", "max-file": "40", "compress": "true"}, []string{readFiles}},
		"API first, then not": {map[string]string{"max-size": "2m", "max-file": "10"}, []string{readAPI, readFiles, readFiles, readFiles}},
	} {
		t.Run(variant, func(t *testing.T) {
			c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogOpts: tt.options, Steps: []script.Step{
				script.Lines{Stream: script.Both, Count: 5000, PerSecond: 1500, Length: 220},
				raw("", strings.Repeat("long", 10_000)), raw(script.Stderr, "amid\n"), script.Wait{Signal: "USR1"}, raw("", "-END\n"), script.Wait{},
			}})
			r := newRig(t, func(config *Config) { config.Include.Names = []string{c.Name} })
			for i := range 10 {
				r.config.ReadFrom = tt.modes[i%len(tt.modes)]
				r.start()
				r.awaitLines(c.ID, 900*(i+1))
				r.stop()
			}
			r.config.ReadFrom = tt.modes[0]
			r.start()
			r.awaitLines(c.ID, 10_001) // all but the long line, of which some pieces have come
			r.stop()
			r.config.ReadFrom = readFiles
			r.start()
			waitFor(t, "the file", func() bool { return r.modes()[readFiles] == 1 })
			c.Signal("USR1")
			r.awaitLines(c.ID, 10_002)
			r.requireExact(c)
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// TestModeChangesAmidLongLinesOfATerminal: what the engine's API gives of a terminal has no frames, and its file has pieces.
func TestModeChangesAmidLongLinesOfATerminal(t *testing.T) {
	t.Parallel()
	needFiles(t)
	const half = 20_000 // more than a piece
	var steps []script.Step
	var want []string
	for i := range 6 {
		letter := string(rune('a' + i))
		steps = append(steps, raw("", "before ", letter, "\n", strings.Repeat(letter, half)), script.Wait{Signal: "USR1"}, raw("", strings.Repeat(letter, half), "\n"))
		want = append(want, "before "+letter, strings.Repeat(letter, 2*half))
	}
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), TTY: true, Steps: append(steps, script.Wait{})})
	r := newRig(t, func(config *Config) { config.Include.Names = []string{c.Name} })
	for i, mode := range []string{readAPI, readFiles, readFiles, readAPI, readAPI, readFiles} {
		r.config.ReadFrom = mode
		r.start()
		r.awaitLines(c.ID, 2*i+1) // the other half of the line before came while the receiver was down, or comes now
		waitFor(t, "a piece of the line that is open", func() bool { return len(c.Logs()) > 2*i+1 })
		if i%2 == 0 {
			r.stop()
			c.Signal("USR1")
			continue
		}
		c.Signal("USR1")
		r.awaitLines(c.ID, 2*i+2)
		r.stop()
	}
	r.start()
	r.awaitLines(c.ID, len(want))
	var got []string
	for _, record := range r.records(c.ID) {
		got = append(got, record.Body)
	}
	requireTexts(t, want, got)
	r.stop()
}

// TestHistoryInRotatedFiles: all of a log that was rotated many times, and what is added while the receiver is down.
func TestHistoryInRotatedFiles(t *testing.T) {
	t.Parallel()
	needFiles(t)
	for variant, compress := range map[string]string{"plain": "false", "compressed": "true"} {
		t.Run(variant, func(t *testing.T) {
			c := dockertest.Run(t, dockertest.Spec{
				Name: name(t), LogOpts: map[string]string{"max-size": "50k", "max-file": "30", "compress": compress},
				Steps: []script.Step{
					script.Lines{Stream: script.Both, Count: 800, PerSecond: 1000, Length: 220}, script.Wait{Signal: "USR1"},
					script.Lines{Stream: script.Both, Count: 800, PerSecond: 1000, Length: 220}, script.Wait{},
				},
			})
			r := newRig(t, func(config *Config) { config.Include.Names, config.ReadFrom = []string{c.Name}, readFiles })
			waitFor(t, "the container's lines", func() bool { return len(c.Logs()) == 1600 })
			r.start()
			r.awaitLines(c.ID, 1600)
			r.stop()
			c.Signal("USR1")
			waitFor(t, "the container's lines", func() bool { return len(c.Logs()) == 3200 })
			r.start()
			r.awaitLines(c.ID, 3200)
			require.EqualValues(t, 1, r.modes()[readFiles])
			require.Equal(t, engineLines(c), r.lines(c.ID), "records come in the order in which they are stored")
			require.Zero(t, r.metric("logcapture_gaps"))
			r.stop()
		})
	}
}

// Row 33 with files: every other line comes.
func TestDamagedLinesOfAFileArePassedOver(t *testing.T) {
	needFiles(t)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 100}, script.Wait{Signal: "USR1"}, script.Lines{Count: 100}, script.Wait{},
	}})
	r := newRig(t, func(c *Config) { c.ReadFrom = readFiles })
	r.start()
	r.awaitLines(c.ID, 100)
	log, err := os.OpenFile(c.Inspect().LogPath, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = log.WriteString("{\"log\":\"torn\n\x00\x00\x00\n")
	require.NoError(t, err)
	require.NoError(t, log.Close())
	c.Signal("USR1")
	r.awaitLines(c.ID, 200)
	r.stop()
	r.start()
	waitFor(t, "the file", func() bool { return r.modes()[readFiles] == 1 })
	for i, record := range r.records(c.ID) {
		require.Equal(t, fmt.Sprintf("stdout-1-%d", i+1), record.Body)
	}
	require.Len(t, r.records(c.ID), 200)
	r.stop()
}

// TestRemovedWhileFilesAreBehind: a container is removed while some files of its log have not been read.
func TestRemovedWhileFilesAreBehind(t *testing.T) {
	needFiles(t)
	b := newBlock()
	r := newRig(t, func(c *Config) { c.ReadFrom = readFiles })
	r.consumer.Answer(b.answer)
	r.start()
	awaitUp(r)
	const n = 1000
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), LogOpts: map[string]string{"max-size": "200k", "max-file": "20"}, Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 1}, script.Wait{Signal: "USR1"},
		script.Lines{Stream: script.Both, Count: n - 1, PerSecond: 500, Length: 220}, script.Wait{},
	}})
	waitFor(t, "a delivery, of less than a file", func() bool { return b.waiting() > 0 })
	c.Signal("USR1")
	waitFor(t, "the container's lines", func() bool { return len(c.Logs()) == 2*n })
	rotated, err := filepath.Glob(c.Inspect().LogPath + ".*")
	require.NoError(t, err)
	require.NotEmpty(t, rotated)
	box := r.receiver.(*containerLog).follower.get(c.ID)
	waitFor(t, "all files are held", func() bool {
		box.mu.Lock()
		defer box.mu.Unlock()
		log := box.stream.log.Load()
		return log != nil && log.Held() == len(rotated)+1
	})
	c.Remove()
	b.open()
	f := r.receiver.(*containerLog).follower
	waitFor(t, "the end of the stream", func() bool { return f.get(c.ID) == nil })
	requireNumbered(t, r, c.ID, n)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
}

// TestLifecycleRecordsStandBehindTheLastLine is with the real engine, for what it says of the order of its events and lines.
func TestLifecycleRecordsStandBehindTheLastLine(t *testing.T) {
	t.Parallel()
	inBothModes(t, func(t *testing.T) {
		test := time.Now()
		before := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 1}, script.Wait{Signal: "TERM"}}})
		r := newRig(t, func(c *Config) { c.LifecycleRecords = true })
		r.start()
		awaitUp(r)
		r.awaitLines(before.ID, 1)
		before.Stop(10)
		r.awaitLines(before.ID, 2)
		state := before.Inspect().State
		began, err := time.Parse(time.RFC3339Nano, state.StartedAt)
		require.NoError(t, err)
		ended, err := time.Parse(time.RFC3339Nano, state.FinishedAt)
		require.NoError(t, err)
		ran, ok := r.records(before.ID)[1].Log.Attributes().Get("container.run.duration")
		require.True(t, ok)
		require.GreaterOrEqual(t, ran.Double(), ended.Sub(began).Seconds()-0.1)
		require.Less(t, ran.Double(), time.Since(test).Seconds(), "a busy engine tells of the end some time after it")
		c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
			script.Lines{Count: 2}, raw("", "last"), script.Wait{Signal: "TERM"}, script.Exit{Code: 3},
		}})
		var want []string
		for run := 1; run <= 3; run++ {
			want = append(want, fmt.Sprintf("stdout-%d-1", run), fmt.Sprintf("stdout-%d-2", run), "last", "container.die")
			r.awaitLines(c.ID, len(want)+run-2) // the line without line feed comes with the end
			c.Stop(10)
			r.awaitLines(c.ID, len(want)+run)
			if run < 3 {
				c.Start()
			}
		}
		var got []string
		for _, record := range r.records(c.ID) {
			switch event := record.Log.EventName(); event {
			case "container.start": // its stamp can be later than those of the first lines
			case "":
				got = append(got, record.Body)
			default:
				got = append(got, event)
			}
		}
		require.Equal(t, want, got)
		r.stop()
	})
}

// TestQuietFilesAreWoken: lines that come one by one, to a file that is watched.
func TestQuietFilesAreWoken(t *testing.T) {
	needFiles(t)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 10, PerSecond: 4}, script.Wait{}}})
	r := newRig(t, func(c *Config) { c.ReadFrom = readFiles })
	r.start()
	r.awaitLines(c.ID, 10)
	r.requireExact(c)
	var late []time.Duration
	for _, record := range r.records(c.ID)[1:] {
		late = append(late, record.Log.ObservedTimestamp().AsTime().Sub(record.Log.Timestamp().AsTime()))
	}
	slices.Sort(late)
	require.Less(t, late[0], longPause/4, "the kernel tells of what comes")
	r.stop()
}
