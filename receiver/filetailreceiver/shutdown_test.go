package filetailreceiver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// filesBelow lists what this process has open below a directory.
func filesBelow(t *testing.T, dir string) (open []string) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc: open files are counted on Linux")
	}
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(target, dir+"/") {
			open = append(open, target)
		}
	}
	return open
}

// writeGiB writes a file of 1 GiB in lines of 128 bytes.
func writeGiB(t *testing.T, path string) {
	t.Helper()
	block := []byte(strings.Repeat(strings.Repeat("x", 127)+"\n", 16<<20/128))
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for range 64 {
		_, err = f.Write(block)
		require.NoError(t, err)
	}
}

func TestShutdownDuringTheFirstReadOfAGiB(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 1 GiB")
	}
	dir := t.TempDir()
	writeGiB(t, filepath.Join(dir, "a.log"))
	for name, wait := range map[string]int64{"at once": 0, "at the first batch": 1, "in the middle": 100_000} {
		t.Run(name, func(t *testing.T) {
			consumer := &capturetest.Consumer{}
			var got atomic.Int64
			consumer.Answer(func(_ context.Context, logs plog.Logs) error {
				got.Add(int64(logs.LogRecordCount()))
				return nil
			})
			r := create(t, testConfig(filepath.Join(dir, "*.log")), consumer)
			require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
			capturetest.WaitFor(t, "records", func() bool { return got.Load() >= wait })
			capturetest.ShutDown(t, r)
			before := got.Load()
			require.Empty(t, filesBelow(t, dir))
			require.Less(t, before, int64(1<<30/128), "the file was to be read only in part")
			// No task is left (goleak), so nothing can be read or delivered any more.
			require.Equal(t, before, got.Load())
		})
	}
}

// storm creates, writes, renames and deletes files until the function that it returns is called.
func storm(t *testing.T, dir string) (end func()) {
	t.Helper()
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := filepath.Join(dir, fmt.Sprintf("%d-%d.log", worker, i%50))
				_ = os.WriteFile(path, []byte("line\n"), 0o600)
				_ = os.Rename(path, path+".log")
				_ = os.Remove(path + ".log")
			}
		})
	}
	return func() { close(stop); group.Wait() }
}

func TestShutdownInAStormOfEvents(t *testing.T) {
	dir := t.TempDir()
	end := sync.OnceFunc(storm(t, dir))
	defer end()
	for range 5 {
		consumer := &capturetest.Consumer{}
		r := create(t, testConfig(filepath.Join(dir, "*.log")), consumer)
		require.NoError(t, r.Start(t.Context(), componenttest.NewNopHost()))
		capturetest.WaitFor(t, "lines out of the storm", func() bool { return consumer.Len() > 20 })
		capturetest.ShutDown(t, r)
	}
	end()
	require.Empty(t, filesBelow(t, dir))
}

func TestShutdownWhileADeliveryDoesNotEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(context.Context, plog.Logs) error
		grace  time.Duration
		least  time.Duration
	}{
		"consumer blocks until its context ends": {
			answer: func(ctx context.Context, _ plog.Logs) error { <-ctx.Done(); return ctx.Err() },
			grace:  200 * time.Millisecond, least: 200 * time.Millisecond,
		},
		"consumer blocks and there is no grace": {
			answer: func(ctx context.Context, _ plog.Logs) error { <-ctx.Done(); return ctx.Err() },
		},
		"downstream refuses for ever": {
			answer: func(context.Context, plog.Logs) error { return errors.New("not now") },
			grace:  time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.log")
			require.NoError(t, os.WriteFile(path, []byte("one\n"), 0o600))
			consumer := &capturetest.Consumer{}
			var asked atomic.Int64
			consumer.Answer(func(ctx context.Context, logs plog.Logs) error {
				asked.Add(1)
				return tt.answer(ctx, logs)
			})
			config := testConfig(path)
			config.ShutdownGrace = tt.grace
			storage := capturetest.NewStorage()
			config.Storage = &capturetest.StorageID
			host := capturetest.NewHostWith(map[component.ID]component.Component{capturetest.StorageID: storage})
			r := create(t, config, consumer)
			require.NoError(t, r.Start(t.Context(), host))
			capturetest.WaitFor(t, "a delivery", func() bool { return asked.Load() > 0 })
			began := time.Now()
			capturetest.ShutDown(t, r)
			require.GreaterOrEqual(t, time.Since(began), tt.least)
			require.Empty(t, filesBelow(t, dir))
			require.Zero(t, storage.Opened())

			// What nobody has taken comes after the next start.
			consumer.Answer(nil)
			r = create(t, config, consumer)
			require.NoError(t, r.Start(t.Context(), host))
			capturetest.WaitFor(t, "the line", func() bool { return consumer.Len() > 0 })
			capturetest.ShutDown(t, r)
			require.Equal(t, []string{"one"}, consumer.Bodies())
		})
	}
}

func TestShutdownWithAStorageInTrouble(t *testing.T) {
	for name, trouble := range map[string]func(context.Context) error{
		"slow":                   func(ctx context.Context) error { return sleep(ctx, 300*time.Millisecond) },
		"hangs until it may not": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"fails at every write":   func(context.Context) error { return errors.New("no space left on device") },
		"fails, and takes its time": func(ctx context.Context) error {
			return errors.Join(sleep(ctx, 100*time.Millisecond), errors.New("input/output error"))
		},
	} {
		for _, when := range []string{"from the beginning", "after the first line"} {
			t.Run(name+" "+when, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "a.log")
				require.NoError(t, os.WriteFile(path, []byte("one\n"), 0o600))
				consumer, storage := &capturetest.Consumer{}, capturetest.NewStorage()
				config := testConfig(path)
				config.Storage = &capturetest.StorageID
				r := create(t, config, consumer)
				if when == "from the beginning" {
					storage.Trouble(trouble)
				}
				require.NoError(t, r.Start(t.Context(), capturetest.NewHostWith(map[component.ID]component.Component{capturetest.StorageID: storage})))
				if when != "from the beginning" {
					capturetest.WaitFor(t, "the line", func() bool { return consumer.Len() == 1 })
					storage.Trouble(trouble)
					appendLine(t, path, "two")
					capturetest.WaitFor(t, "capture goes on", func() bool { return consumer.Len() == 2 })
				}
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				began := time.Now()
				err := r.Shutdown(ctx)
				require.Less(t, time.Since(began), capturetest.Promptly)
				if err != nil {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				capturetest.WaitFor(t, "the storage is closed", func() bool { return storage.Opened() == 0 })
			})
		}
	}
}

func appendLine(t *testing.T, path, line string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	require.NoError(t, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestShutdownOfAStorageThatIgnoresItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	require.NoError(t, os.WriteFile(path, []byte("one\n"), 0o600))
	storage, release := capturetest.NewStorage(), make(chan struct{})
	consumer := &capturetest.Consumer{}
	config := testConfig(path)
	config.Storage = &capturetest.StorageID
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), capturetest.NewHostWith(map[component.ID]component.Component{capturetest.StorageID: storage})))
	capturetest.WaitFor(t, "the line", func() bool { return consumer.Len() == 1 })
	storage.Trouble(func(context.Context) error { <-release; return nil })
	appendLine(t, path, "two")
	capturetest.WaitFor(t, "capture goes on", func() bool { return consumer.Len() == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := r.Shutdown(ctx)
	require.Less(t, time.Since(began), capturetest.Promptly)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "checkpoint")
	close(release)
	capturetest.WaitFor(t, "the storage is closed", func() bool { return storage.Opened() == 0 })
}

// TestShutdownAtAnyMomentOfStart is a thousand shutdowns while the tasks are being started, load positions, look for files and read.
func TestShutdownAtAnyMomentOfStart(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), []byte(strings.Repeat("line\n", 1000)), 0o600))
	}
	host := capturetest.NewHost(t, t.TempDir())
	config := testConfig(filepath.Join(dir, "*.log"))
	config.Storage = &capturetest.StorageID
	var got atomic.Int64
	consumer := &capturetest.Consumer{}
	consumer.Answer(func(_ context.Context, logs plog.Logs) error {
		got.Add(int64(logs.LogRecordCount()))
		return nil
	})
	before := openFiles(t)
	for i := range 1000 {
		r := create(t, config, consumer)
		started := make(chan error, 1)
		go func() { started <- r.Start(t.Context(), host) }()
		if i%4 > 0 { // else at the same time
			require.NoError(t, <-started)
			started <- nil
			time.Sleep(rand.N(3 * time.Millisecond)) // the moment is the matter here
		}
		capturetest.ShutDown(t, r)
		require.NoError(t, <-started)
		capturetest.ShutDown(t, r) // where Start was later than the first
	}
	require.Equal(t, before, openFiles(t))
	r := create(t, config, consumer)
	require.NoError(t, r.Start(t.Context(), host))
	capturetest.WaitFor(t, "all lines", func() bool { return got.Load() >= 20*1000 })
	capturetest.ShutDown(t, r)
	require.EqualValues(t, 20*1000, got.Load(), "each line once, over all the starts")
}

func TestTasksThatNobodyExpectsAreTold(t *testing.T) {
	for _, kind := range []string{"discovery", "worker"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				host := capturetest.NewHostWith(nil)
				config := testConfig(filepath.Join(dir, "*.log"))
				config.Discovery = discoveryPoll // reading from the kernel is no waiting that synctest knows
				config.PollInterval = time.Second
				r := create(t, config, &capturetest.Consumer{})
				require.NoError(t, r.Start(t.Context(), host))
				time.Sleep(time.Minute)
				require.Equal(t, componentstatus.StatusNone, host.Last().Status())
				stray := r.(*fileTail).running.Go(kind, "stray", func(ctx context.Context) { <-ctx.Done() })
				time.Sleep(time.Minute)
				require.Equal(t, componentstatus.StatusRecoverableError, host.Last().Status())
				require.ErrorContains(t, host.Last().Err(), "stray")
				stray.Cancel()
				time.Sleep(time.Minute)
				require.Equal(t, componentstatus.StatusOK, host.Last().Status())
				require.NoError(t, r.Shutdown(t.Context()))
			})
		})
	}
}
