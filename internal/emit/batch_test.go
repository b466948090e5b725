package emit

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

func TestRecordsBecomeLogsWithTheirAttributes(t *testing.T) {
	resource := &Resource{Attributes: pcommon.NewMap()}
	resource.Attributes.PutStr("host.name", "h")
	first := &Source{Resource: resource, Attributes: pcommon.NewMap(), Offsets: true, Numbers: true}
	first.Attributes.PutStr("log.file.name", "first.log")
	second := &Source{Resource: resource, Attributes: pcommon.NewMap()}
	event := &Event{Name: "container.die", Attributes: pcommon.NewMap()}
	event.Attributes.PutInt("process.exit.code", 3)
	other := textSource()

	b := &Batch{}
	b.Observe(time.Unix(9, 0))
	b.Add(first, &Record{Body: "one", Time: 5, Iostream: Stdout, Offset: 0, Number: 1})
	b.Add(first, &Record{Body: "two", Iostream: Stderr, Truncated: true, Offset: 4, Number: 2})
	b.Add(second, &Record{Body: "\xff", Bytes: true, Continued: true, Malformed: true})
	b.Add(other, &Record{Body: "died", Event: event})
	logs := b.next("scope", "1.2.3")

	require.Equal(t, 2, logs.ResourceLogs().Len(), "sources of one resource share it")
	sl := logs.ResourceLogs().At(0).ScopeLogs().At(0)
	require.Equal(t, "scope 1.2.3", sl.Scope().Name()+" "+sl.Scope().Version())
	var seen []string
	for _, rl := range logs.ResourceLogs().All() {
		for _, lr := range rl.ScopeLogs().At(0).LogRecords().All() {
			seen = append(seen, fmt.Sprint(lr.Body().Type(), " ", lr.Timestamp().AsTime().UnixNano(), " ",
				lr.ObservedTimestamp().AsTime().Unix(), " ", lr.EventName(), lr.Attributes().AsRaw()))
		}
	}
	require.Equal(t, []string{
		"Str 5 9 map[log.file.name:first.log log.file.record_number:1 log.file.record_offset:0 log.iostream:stdout]",
		"Str 0 9 map[log.file.name:first.log log.file.record_number:2 log.file.record_offset:4 log.iostream:stderr log.record.truncated:true]",
		"Bytes 0 9 map[log.record.continued:true log.record.malformed:true]",
		"Str 0 9 container.diemap[process.exit.code:3]",
	}, seen)
}

func TestFullBatchStaysBelowTheDefaultLimitOfGRPC(t *testing.T) {
	for name, size := range map[string]int{"empty": 0, "short": 20, "usual": 200, "long": 64 << 10, "longest": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			b := &Batch{}
			source := textSource()
			source.Attributes.PutStr("log.file.name", strings.Repeat("n", 100))
			source.Attributes.PutStr("log.file.path", strings.Repeat("p", 200))
			body := strings.Repeat("x", size)
			for !b.Full() {
				b.Add(source, &Record{Body: body, Time: 1 << 60, Iostream: Stdout})
			}
			marshaler := plog.ProtoMarshaler{}
			encoded := marshaler.LogsSize(b.next("scope", "1"))
			require.Less(t, encoded, 4<<20)
		})
	}
}

func TestTextsShareMemoryAndStayAsTheyWere(t *testing.T) {
	b := &Batch{}
	var texts, want []string
	for i := range 3000 {
		text := strings.Repeat(string(rune('a'+i%26)), i%300)
		want = append(want, text)
		texts = append(texts, b.Text([]byte(text)))
	}
	require.Equal(t, want, texts)
}

func TestOneKeptRecordPinsNoMoreThanAChunk(t *testing.T) {
	for _, length := range []int{1, 20, 200, 1000, 2000, 5000} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			var kept []plog.LogRecord
			before := heap()
			const batches = 200
			line := []byte(strings.Repeat("x", length))
			for range batches {
				b := &Batch{}
				source := textSource()
				source.Attributes.PutStr("log.file.name", "a.log")
				for range 300 {
					b.Add(source, &Record{Body: b.Text(line), Iostream: Stdout})
				}
				kept = append(kept, b.records.At(150))
			}
			require.Less(t, heap()-before, uint64(batches*(chunkText+12<<10)))
			runtime.KeepAlive(kept)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestResetBatchIsEmptyAndUsableAgain(t *testing.T) {
	b := batchOf("a", "b")
	b.Reset()
	require.Zero(t, b.Len()+b.Bytes())
	b.Add(textSource(), &Record{Body: "c"})
	require.Equal(t, []string{"c"}, bodies(b.next("", "")))
}

func TestBudgetMakesReadersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(100)
		all, err := budget.Acquire(t.Context(), 1000)
		require.NoError(t, err)
		require.EqualValues(t, 100, all, "more than the whole budget is the whole budget")
		require.EqualValues(t, 100, budget.Used())
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = budget.Acquire(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		budget.Release(all)
		_, err = budget.Acquire(t.Context(), 40)
		require.NoError(t, err)
		require.EqualValues(t, 40, budget.Used())
	})
}

func BenchmarkBuild(b *testing.B) {
	line := []byte(strings.Repeat("x", 200))
	for _, test := range []struct {
		attributes int
		single     bool
	}{{0, true}, {1, true}, {2, true}, {1, false}, {2, false}} {
		b.Run(fmt.Sprintf("attributes=%d,changed=%t", test.attributes, !test.single), func(b *testing.B) {
			source := textSource()
			for i := range test.attributes {
				source.Attributes.PutStr(fmt.Sprintf("log.file.attribute%d", i), "application.log")
			}
			batch := &Batch{single: test.single}
			b.ReportAllocs()
			b.SetBytes(200)
			for n := 0; n < b.N; n += 4096 {
				for range 4096 {
					batch.Add(source, &Record{Body: batch.Text(line)})
				}
				_ = batch.next("scope", "1")
				batch.Reset()
			}
		})
	}
}
