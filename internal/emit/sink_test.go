package emit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// next answers each delivery by the next of its answers, then with nil, and remembers what it got.
type next struct {
	mutates bool
	answers []func(context.Context, plog.Logs) error
	got     [][]string // bodies of each delivery
}

func (n *next) Capabilities() consumer.Capabilities {
	return consumer.Capabilities{MutatesData: n.mutates}
}

func (n *next) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	n.got = append(n.got, bodies(logs))
	if len(n.answers) == 0 {
		return nil
	}
	answer := n.answers[0]
	n.answers = n.answers[1:]
	return answer(ctx, logs)
}

func bodies(logs plog.Logs) (all []string) {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				all = append(all, lr.Body().AsString())
			}
		}
	}
	return all
}

func refuse(err error) func(context.Context, plog.Logs) error {
	return func(context.Context, plog.Logs) error { return err }
}

type counts struct {
	dropped map[string]int
	retried int
}

func newSink(t *testing.T, to consumer.Logs, retry configretry.BackOffConfig) (*Sink, *counts) {
	c := &counts{dropped: make(map[string]int)}
	settings := receivertest.NewNopSettings(receivertest.NopType)
	settings.BuildInfo.Version = "1.2.3"
	sink, err := NewSink(Settings{
		Next: to, Receiver: settings, Retry: retry, Scope: "scope", Format: "raw", Transport: "file",
		Dropped: func(n int, reason string) { c.dropped[reason] += n },
		Retried: func() { c.retried++ },
	})
	require.NoError(t, err)
	return sink, c
}

func textSource() *Source {
	return &Source{Resource: &Resource{Attributes: pcommon.NewMap()}, Attributes: pcommon.NewMap()}
}

func batchOf(texts ...string) *Batch {
	b := &Batch{}
	source := textSource()
	for _, text := range texts {
		b.Add(source, &Record{Body: text})
	}
	return b
}

var errRefused = errors.New("refused")

func TestAcceptedBatchIsDone(t *testing.T) {
	to := &next{}
	sink, c := newSink(t, to, DefaultRetry())
	require.NoError(t, sink.Consume(t.Context(), batchOf("a", "b")))
	require.Equal(t, [][]string{{"a", "b"}}, to.got)
	require.Zero(t, c.retried)
}

func TestMarksAreCountedOncePerRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &next{answers: []func(context.Context, plog.Logs) error{refuse(errRefused)}}
		sink, _ := newSink(t, to, DefaultRetry())
		var marks []Marks
		sink.Marked = func(m Marks) { marks = append(marks, m) }
		b := &Batch{}
		for i := range 5 {
			b.Add(textSource(), &Record{Body: "a", Truncated: i%2 == 0, Malformed: i == 4})
		}
		require.NoError(t, sink.Consume(t.Context(), b))
		b.Reset()
		b.Add(textSource(), &Record{Body: "good"})
		require.NoError(t, sink.Consume(t.Context(), b))
		require.Equal(t, []Marks{{Truncated: 3, Malformed: 1}}, marks)
	})
}

func TestEmptyBatchIsNotDelivered(t *testing.T) {
	to := &next{}
	sink, _ := newSink(t, to, DefaultRetry())
	require.NoError(t, sink.Consume(t.Context(), &Batch{}))
	require.Empty(t, to.got)
}

func TestRefusedBatchIsRetriedForEverByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &next{}
		const tries = 5000
		for range tries {
			to.answers = append(to.answers, refuse(errRefused))
		}
		sink, c := newSink(t, to, DefaultRetry())
		began := time.Now()
		require.NoError(t, sink.Consume(t.Context(), batchOf("a")))
		require.Len(t, to.got, tries+1)
		require.Equal(t, tries, c.retried)
		require.Empty(t, c.dropped)
		require.Greater(t, time.Since(began), time.Hour)
	})
}

func TestConsumerThatMutatesAndFailsGetsAnUntouchedBatchAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spoil := func(_ context.Context, logs plog.Logs) error {
			logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0).Body().SetStr("spoilt")
			return errRefused
		}
		to := &next{mutates: true, answers: []func(context.Context, plog.Logs) error{spoil, spoil}}
		sink, _ := newSink(t, to, DefaultRetry())
		require.NoError(t, sink.Consume(t.Context(), batchOf("a", "b")))
		require.Equal(t, [][]string{{"a", "b"}, {"a", "b"}, {"a", "b"}}, to.got)
	})
}

func TestConsumerThatDoesNotMutateGetsTheSameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := func(_ context.Context, logs plog.Logs) error {
			logs.MarkReadOnly() // as is done where two pipelines get it
			return errRefused
		}
		to := &next{answers: []func(context.Context, plog.Logs) error{share, share}}
		sink, _ := newSink(t, to, DefaultRetry())
		b := sink.NewBatch()
		b.Add(textSource(), &Record{Body: "a"})
		b.Add(textSource(), &Record{Body: "b"})
		require.NoError(t, sink.Consume(t.Context(), &b))
		require.Equal(t, [][]string{{"a", "b"}, {"a", "b"}, {"a", "b"}}, to.got)
		require.Empty(t, b.kept, "nothing has to be kept for it")
	})
}

// With several consumers behind it, the collector lets nobody change what they got.
func TestBatchThatWasNotTakenGoesOn(t *testing.T) {
	for _, mutates := range []bool{false, true} {
		t.Run(fmt.Sprintf("mutates data %t", mutates), func(t *testing.T) {
			to := &next{mutates: mutates}
			sink, _ := newSink(t, to, DefaultRetry())
			ctx, cancel := context.WithCancel(t.Context())
			b := sink.NewBatch()
			source := textSource()
			b.Add(source, &Record{Body: "a"})
			to.answers = []func(context.Context, plog.Logs) error{func(_ context.Context, logs plog.Logs) error {
				logs.MarkReadOnly()
				cancel()
				return errRefused
			}}
			require.ErrorIs(t, sink.Consume(ctx, &b), context.Canceled)
			b.Add(source, &Record{Body: "b"})
			require.NoError(t, sink.Consume(t.Context(), &b))
			require.Equal(t, [][]string{{"a"}, {"a", "b"}}, to.got)
		})
	}
}

func TestPartialFailureRetriesTheRestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keep := func(n int) func(context.Context, plog.Logs) error {
			return func(_ context.Context, logs plog.Logs) error {
				rest := plog.NewLogs()
				logs.CopyTo(rest)
				kept := 0
				rest.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().RemoveIf(func(plog.LogRecord) bool { kept++; return kept <= n })
				return consumererror.NewLogs(errRefused, rest)
			}
		}
		permanent := refuse(consumererror.NewPermanent(errRefused))
		to := &next{answers: []func(context.Context, plog.Logs) error{keep(1), refuse(errRefused), keep(1), permanent}}
		sink, c := newSink(t, to, DefaultRetry())
		require.NoError(t, sink.Consume(t.Context(), batchOf("a", "b", "c")))
		require.Equal(t, [][]string{{"a", "b", "c"}, {"b", "c"}, {"b", "c"}, {"c"}}, to.got)
		require.Equal(t, map[string]int{reasonPermanent: 1}, c.dropped)
	})
}

func TestGivenUpIsCountedByReasonAndDone(t *testing.T) {
	once := DefaultRetry()
	once.Enabled = false
	limited := DefaultRetry()
	limited.MaxElapsedTime = time.Minute
	for _, tt := range []struct {
		name   string
		retry  configretry.BackOffConfig
		err    error
		reason string
	}{
		{"permanent error", DefaultRetry(), consumererror.NewPermanent(errRefused), reasonPermanent},
		{"retry disabled", once, errRefused, reasonNoRetry},
		{"retry time over", limited, errRefused, reasonExpired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				to := &next{}
				for range 1000 {
					to.answers = append(to.answers, refuse(tt.err))
				}
				sink, c := newSink(t, to, tt.retry)
				began := time.Now()
				require.NoError(t, sink.Consume(t.Context(), batchOf("a", "b")))
				require.Equal(t, map[string]int{tt.reason: 2}, c.dropped)
				require.LessOrEqual(t, time.Since(began), time.Minute)
			})
		})
	}
}

func TestStopWhileRefusedLeavesTheBatchUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &next{}
		for range 100 {
			to.answers = append(to.answers, refuse(errRefused))
		}
		sink, c := newSink(t, to, DefaultRetry())
		group := lifecycle.NewGroup(t.Context(), func(err error) { t.Error(err) })
		result := make(chan error, 1)
		group.Go("reader", "", func(ctx context.Context) { result <- sink.Consume(ctx, batchOf("a")) })
		time.Sleep(time.Minute)
		began := time.Now()
		require.NoError(t, group.Stop(t.Context(), 5*time.Second))
		require.Zero(t, time.Since(began), "a wait between tries is cut at once")
		require.ErrorIs(t, <-result, context.Canceled)
		require.Empty(t, c.dropped)
	})
}

func TestDeliveryUnderWayAtStopIsGivenTheGrace(t *testing.T) {
	for _, tt := range []struct {
		takes time.Duration
		done  bool
	}{{3 * time.Second, true}, {time.Hour, false}} {
		t.Run(fmt.Sprint(tt.takes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := func(ctx context.Context, _ plog.Logs) error { return lifecycle.Sleep(ctx, tt.takes) }
				to := &next{answers: []func(context.Context, plog.Logs) error{slow}}
				sink, c := newSink(t, to, DefaultRetry())
				group := lifecycle.NewGroup(t.Context(), func(err error) { t.Error(err) })
				result := make(chan error, 1)
				group.Go("reader", "", func(ctx context.Context) { result <- sink.Consume(ctx, batchOf("a")) })
				synctest.Wait()
				began := time.Now()
				require.NoError(t, group.Stop(t.Context(), 5*time.Second))
				require.Equal(t, min(tt.takes, 5*time.Second), time.Since(began))
				require.Equal(t, tt.done, <-result == nil)
				require.Empty(t, c.dropped)
				require.Len(t, to.got, 1)
			})
		})
	}
}

func TestNothingIsDeliveredAfterTheGrace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	to := &next{}
	sink, _ := newSink(t, to, DefaultRetry())
	require.ErrorIs(t, sink.Consume(ctx, batchOf("a")), context.Canceled)
	require.Empty(t, to.got)
}

// pooling imitates what the collector puts before a pipeline: what it gets is emptied for the next user when nobody refers to it any more.
type pooling struct{ *next }

func (p pooling) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	if pref.MarkPipelineOwnedLogs(logs) {
		defer pref.UnrefLogs(logs)
	}
	return p.next.ConsumeLogs(ctx, logs)
}

func TestRefusedBatchIsWholeWhenRecordsArePooled(t *testing.T) {
	usePools(t)
	again := func(err error) func(context.Context, plog.Logs) error {
		return func(_ context.Context, logs plog.Logs) error {
			if err == nil {
				return consumererror.NewLogs(errRefused, logs)
			}
			return err
		}
	}
	for _, mutates := range []bool{false, true} {
		for name, err := range map[string]error{"refused": errRefused, "refused in parts": nil} {
			t.Run(fmt.Sprintf("%s, mutates data %t", name, mutates), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					to := &next{mutates: mutates}
					sink, _ := newSink(t, pooling{to}, DefaultRetry())
					b := sink.NewBatch()
					source := textSource()
					source.Attributes.PutStr("log.file.name", "a.log")
					for round := range 3 {
						to.got, to.answers = nil, []func(context.Context, plog.Logs) error{again(err), again(err)}
						want := []string{fmt.Sprint("a", round), fmt.Sprint("b", round)}
						b.Add(source, &Record{Body: want[0], Iostream: Stderr})
						b.Add(source, &Record{Body: want[1]})
						require.NoError(t, sink.Consume(t.Context(), &b))
						b.Reset()
						require.Equal(t, [][]string{want, want, want}, to.got)
					}
				})
			})
		}
	}
}
