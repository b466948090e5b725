package filetailreceiver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pipeline"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/receiver/filetailreceiver/internal/metadata"
)

func testConfig(include string) *Config {
	config := createDefaultConfig().(*Config)
	config.Include = []string{include}
	config.StartAt = startAtBeginning
	config.PollInterval = 5 * time.Millisecond
	config.Retry.InitialInterval = time.Millisecond
	config.Retry.MaxInterval = 10 * time.Millisecond
	return config
}

func create(t *testing.T, config *Config, next *capturetest.Consumer) receiver.Logs {
	t.Helper()
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.ID = component.NewID(metadata.Type)
	r, err := NewFactory().CreateLogs(t.Context(), settings, config, next)
	require.NoError(t, err)
	return r
}

// numbered writes lines with ids of their own to a file.
type numbered struct {
	t    *testing.T
	path string
	mu   sync.Mutex
	last atomic.Int64
}

func (g *numbered) Start() {}

// Stop deletes the file: the next scenario starts without storage and must not see the lines of this one.
func (g *numbered) Stop() { require.NoError(g.t, os.Remove(g.path)) }

func (g *numbered) Generate() []receivertest.UniqueIDAttrVal {
	id := fmt.Sprintf("line %d", g.last.Add(1))
	g.mu.Lock()
	defer g.mu.Unlock()
	f, err := os.OpenFile(g.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(g.t, err)
	defer f.Close()
	_, err = fmt.Fprintln(f, id)
	require.NoError(g.t, err)
	return []receivertest.UniqueIDAttrVal{receivertest.UniqueIDAttrVal(id)}
}

func TestConsumeContract(t *testing.T) {
	dir := t.TempDir()
	receivertest.CheckConsumeContract(receivertest.CheckConsumeContractParams{
		T:             t,
		Factory:       capturetest.WithTestID(NewFactory()),
		Signal:        pipeline.SignalLogs,
		Config:        testConfig(filepath.Join(dir, "*.log")),
		Generator:     &numbered{t: t, path: filepath.Join(dir, "a.log")},
		GenerateCount: 1000,
	})
}

// A hundred thousand paths match: a thousand of them lead to each file. Other work of the machine can delay one start, and not each of them.
func TestStartReturnsAtOnceWhateverMatches(t *testing.T) {
	const links, files = 1000, 100
	dir := t.TempDir()
	path := func(names ...string) string { return filepath.Join(append([]string{dir}, names...)...) }
	require.NoError(t, errors.Join(os.Mkdir(path("files"), 0o700), os.Mkdir(path("links"), 0o700)))
	for i := range files {
		require.NoError(t, os.WriteFile(path("files", fmt.Sprintf("%d.log", i)), []byte("one\n"), 0o600))
	}
	for i := range links {
		require.NoError(t, os.Symlink(path("files"), path("links", strconv.Itoa(i))))
	}
	consumer := &capturetest.Consumer{}
	start := func() (receiver.Logs, time.Duration) {
		r := create(t, testConfig(path("links", "*", "*.log")), consumer)
		began := time.Now()
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		return r, time.Since(began)
	}
	fastest := time.Hour
	for range 5 {
		r, took := start()
		fastest = min(fastest, took)
		capturetest.ShutDown(t, r)
	}
	require.Less(t, fastest, 100*time.Millisecond)

	for i := 10; i < links; i++ { // to look at all of them takes seconds
		require.NoError(t, os.Remove(path("links", strconv.Itoa(i))))
	}
	r, _ := start()
	capturetest.WaitFor(t, "a line of each file, so they do match", func() bool { return consumer.Len() >= files })
	capturetest.ShutDown(t, r)
}

func TestFailedStartLeavesNothingBehind(t *testing.T) {
	for name, id := range map[string]component.ID{
		"no such extension":  component.MustNewID("missing"),
		"not a storage":      component.MustNewID("other"),
		"storage is refused": capturetest.StorageID,
	} {
		t.Run(name, func(t *testing.T) {
			config := testConfig(filepath.Join(t.TempDir(), "*.log"))
			config.Storage = &id
			host := capturetest.NewHost(t, t.TempDir())
			host.GetExtensions()[component.MustNewID("other")] = struct {
				component.StartFunc
				component.ShutdownFunc
			}{}
			holder := create(t, config, &capturetest.Consumer{})
			if name == "storage is refused" { // two receivers of one id: file_storage lets one have it
				require.NoError(t, holder.Start(t.Context(), host))
				t.Cleanup(func() { require.NoError(t, holder.Shutdown(context.WithoutCancel(t.Context()))) })
			}
			r := create(t, config, &capturetest.Consumer{})
			require.ErrorContains(t, r.Start(t.Context(), host), "`storage`")
			require.NoError(t, r.Shutdown(t.Context()))
		})
	}
}

func TestShutdownBeforeStartTwiceAndConcurrently(t *testing.T) {
	r := create(t, testConfig(filepath.Join(t.TempDir(), "*.log")), &capturetest.Consumer{})
	require.NoError(t, r.Shutdown(t.Context()))
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	errs := make(chan error)
	for range 5 {
		go func() { errs <- r.Shutdown(t.Context()) }()
	}
	for range 5 {
		require.NoError(t, <-errs)
	}
	require.NoError(t, r.Shutdown(t.Context()))
}

func TestShutdownWhileTheConsumerIgnoresItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	require.NoError(t, os.WriteFile(path, []byte("one\n"), 0o600))
	consumer := &capturetest.Consumer{}
	release, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	consumer.Answer(func(context.Context, plog.Logs) error {
		once.Do(func() { close(entered) })
		<-release
		return nil
	})
	config := testConfig(path)
	config.ShutdownGrace = 10 * time.Millisecond
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := r.Shutdown(ctx)
	require.ErrorContains(t, err, "worker")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), capturetest.Patience, "the delivery does not end by itself")
	require.NoError(t, os.WriteFile(path, []byte("one\ntwo\n"), 0o600))
	close(release)
	capturetest.WaitFor(t, "the delivery under way ends", func() bool { return consumer.Len() == 1 })
	require.Equal(t, []string{"one"}, consumer.Bodies(), "nothing is delivered after Shutdown")
}

func TestThousandStartsAndShutdowns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	host := capturetest.NewHost(t, t.TempDir())
	config := testConfig(path)
	config.Storage = &capturetest.StorageID
	consumer := &capturetest.Consumer{}
	before := openFiles(t)
	const cycles = 1000
	for i := range cycles {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		fmt.Fprintf(f, "line %d\n", i)
		require.NoError(t, f.Close())
		r := create(t, config, consumer)
		require.NoError(t, r.Start(t.Context(), host))
		if i%100 == 0 {
			capturetest.WaitFor(t, "all lines so far", func() bool { return consumer.Len() == i+1 })
		}
		require.NoError(t, r.Shutdown(t.Context()))
	}
	require.Equal(t, before, openFiles(t))
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), host))
	capturetest.WaitFor(t, "all lines", func() bool { return consumer.Len() >= cycles })
	require.NoError(t, r.Shutdown(t.Context()))
	for i, body := range consumer.Bodies() {
		require.Equal(t, fmt.Sprintf("line %d", i), body)
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: open files are counted on Linux")
	}
	return len(entries)
}

func TestConfigErrorsNameTheirKeys(t *testing.T) {
	for _, tt := range []struct {
		name, key string
		config    map[string]any
	}{
		{"nothing included", "`include`", map[string]any{}},
		{"bad pattern", "`include`", map[string]any{"include": []string{"a["}}},
		{"bad exclude", "`exclude`", map[string]any{"include": []string{"a"}, "exclude": []string{"a["}}},
		{"bad start_at", "`start_at`", map[string]any{"include": []string{"a"}, "start_at": "middle"}},
		{"poll interval", "`poll_interval`", map[string]any{"include": []string{"a"}, "poll_interval": "0s"}},
		{"rotate wait", "`rotate_wait`", map[string]any{"include": []string{"a"}, "rotate_wait": "-1s"}},
		{"max log size", "`max_log_size`", map[string]any{"include": []string{"a"}, "max_log_size": 0}},
		{"shutdown grace", "`shutdown_grace`", map[string]any{"include": []string{"a"}, "shutdown_grace": "-1s"}},
		{"inflight bytes", "`max_inflight_bytes`", map[string]any{"include": []string{"a"}, "max_inflight_bytes": "1KiB"}},
		{"unknown key", "unknown", map[string]any{"include": []string{"a"}, "unknown": 1}},
		{"bad duration", "poll_interval", map[string]any{"include": []string{"a"}, "poll_interval": "soon"}},
		{"retry", "initial_interval", map[string]any{"include": []string{"a"}, "retry_on_failure": map[string]any{"initial_interval": "-1s"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := createDefaultConfig()
			err := confmap.NewFromStringMap(tt.config).Unmarshal(config)
			if err == nil {
				err = confmap.Validate(config)
			}
			require.ErrorContains(t, err, tt.key)
		})
	}
}

func TestEveryProblemOfAConfigIsToldAtOnce(t *testing.T) {
	err := (&Config{StartAt: "middle"}).Validate()
	for _, key := range []string{"`include`", "`start_at`", "`poll_interval`", "`max_log_size`", "`max_inflight_bytes`"} {
		require.ErrorContains(t, err, key)
	}
}

func TestSharedConfigKeysAreRead(t *testing.T) {
	config := createDefaultConfig().(*Config)
	require.NoError(t, confmap.NewFromStringMap(map[string]any{
		"include": []string{"/var/log/*.log"}, "storage": "file_storage/positions", "shutdown_grace": "3s",
		"max_inflight_bytes": "32MiB", "max_log_size": "256KiB", "retry_on_failure": map[string]any{"max_elapsed_time": "1h"},
	}).Unmarshal(config))
	require.NoError(t, confmap.Validate(config))
	require.Equal(t, "file_storage/positions", config.Storage.String())
	require.EqualValues(t, 32<<20, config.MaxInflight)
	require.EqualValues(t, 256<<10, config.MaxLogSize)
	require.Equal(t, time.Hour, config.Retry.MaxElapsedTime)
}
