package lifecycle

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func failOnPanic(t *testing.T) func(error) {
	return func(err error) { t.Errorf("unexpected: %v", err) }
}

func untilDone(ctx context.Context) { <-ctx.Done() }

func TestStopCancelsAndWaitsForAllTasks(t *testing.T) {
	g := NewGroup(t.Context(), failOnPanic(t))
	for range 3 {
		g.Go("stream", "a", untilDone)
	}
	g.Go("worker", "", untilDone)
	require.Equal(t, map[string]int{"stream": 3, "worker": 1}, g.Counts())
	require.NoError(t, g.Stop(t.Context(), 0))
	require.Empty(t, g.Counts())
}

func TestStopWithoutTasksTwiceAndConcurrently(t *testing.T) {
	g := NewGroup(t.Context(), failOnPanic(t))
	errs := make(chan error)
	for range 10 {
		go func() { errs <- g.Stop(t.Context(), time.Hour) }()
	}
	for range 10 {
		require.NoError(t, <-errs)
	}
}

func TestNothingStartsAfterStop(t *testing.T) {
	g := NewGroup(t.Context(), failOnPanic(t))
	require.NoError(t, g.Stop(t.Context(), 0))
	task := g.Go("stream", "late", func(context.Context) { t.Error("started after Stop") })
	<-task.Done()
	require.Empty(t, g.Running())
}

func TestTaskIsCancelledAlone(t *testing.T) {
	g := NewGroup(t.Context(), failOnPanic(t))
	one := g.Go("stream", "one", untilDone)
	other := g.Go("stream", "other", untilDone)
	one.Cancel()
	<-one.Done()
	require.Equal(t, []*Task{other}, g.Running())
	require.NoError(t, g.Stop(t.Context(), 0))
}

func TestGracefulContextOutlivesTheTaskByTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(t.Context(), failOnPanic(t))
		start := time.Now()
		var stopped, aborted time.Duration
		g.Go("worker", "", func(ctx context.Context) {
			<-ctx.Done()
			stopped = time.Since(start)
			<-Graceful(ctx).Done()
			aborted = time.Since(start)
		})
		require.NoError(t, g.Stop(t.Context(), 5*time.Second))
		require.Equal(t, []time.Duration{0, 5 * time.Second}, []time.Duration{stopped, aborted})
	})
}

func TestGraceNeverPassesTheContextOfStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(t.Context(), failOnPanic(t))
		start := time.Now()
		g.Go("worker", "", func(ctx context.Context) { <-Graceful(ctx).Done() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		// Whether the task ends in the moment in which ctx does is a race that both sides may win.
		_ = g.Stop(ctx, time.Minute)
		require.Equal(t, time.Second, time.Since(start))
		require.NoError(t, g.Stop(t.Context(), 0))
	})
}

func TestStopNamesWhatStillRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup(t.Context(), failOnPanic(t))
		release := make(chan struct{})
		g.Go("stream", "stuck", func(context.Context) { <-release })
		g.Go("stream", "fine", untilDone)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := g.Stop(ctx, 0)
		var still *StillRunningError
		require.ErrorAs(t, err, &still)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, still.Tasks, 1)
		require.Equal(t, time.Second, still.Waited)
		require.Contains(t, err.Error(), `stream "stuck" (running for 1m1s)`)
		close(release)
		require.NoError(t, g.Stop(t.Context(), 0), "a second Stop waits for the rest")
	})
}

func TestPanicIsReportedWithItsStackAndTheTaskEnds(t *testing.T) {
	reported := make(chan error, 1)
	g := NewGroup(t.Context(), func(err error) { reported <- err })
	task := g.Go("stream", "web", func(context.Context) { panic(errors.New("boom")) })
	<-task.Done()
	var panicked *PanicError
	require.ErrorAs(t, <-reported, &panicked)
	require.Equal(t, "stream", panicked.Kind)
	require.Equal(t, "web", panicked.Name)
	require.Contains(t, string(panicked.Stack), "TestPanicIsReportedWithItsStackAndTheTaskEnds")
	require.NoError(t, g.Stop(t.Context(), 0))
}

func TestGracefulOfAForeignContextIsItself(t *testing.T) {
	require.Equal(t, t.Context(), Graceful(t.Context()))
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.NoError(t, Sleep(t.Context(), time.Minute))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, Sleep(ctx, time.Minute), context.DeadlineExceeded)
	})
}
