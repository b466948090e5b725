package emit

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// A pdata that is laid out in another way costs speed and no more. That is for users' collectors: here it has to be known.
func TestLayoutOfPdataIsKnown(t *testing.T) {
	require.NotZero(t, kindOfText)
	require.True(t, direct())
	require.NotNil(t, gateOfPools())
}

func TestAnotherLayoutIsSeen(t *testing.T) {
	type pairs struct{ Pairs []keyValue }
	type known struct {
		Name  string
		Value any
		Count uint32
		ID    [8]byte
		Next  *pairs
	}
	ours := reflect.TypeFor[known]()
	require.True(t, alike(ours, ours))
	change := func(field int, to reflect.StructField) reflect.Type {
		fields := reflect.VisibleFields(ours)
		fields[field] = to
		return reflect.StructOf(fields)
	}
	for name, theirs := range map[string]reflect.Type{
		"renamed":      change(0, reflect.StructField{Name: "Key", Type: reflect.TypeFor[string]()}),
		"moved":        reflect.StructOf([]reflect.StructField{ours.Field(1), ours.Field(0), ours.Field(2), ours.Field(3), ours.Field(4)}),
		"another kind": change(2, reflect.StructField{Name: "Count", Type: reflect.TypeFor[float32]()}),
		"methods":      change(1, reflect.StructField{Name: "Value", Type: reflect.TypeFor[fmt.Stringer]()}),
		"deep":         change(4, reflect.StructField{Name: "Next", Type: reflect.TypeFor[*struct{ Pairs []*keyValue }]()}),
		"more": reflect.TypeFor[struct {
			known
			More byte
		}](),
		"pointer":   reflect.TypeFor[*known](),
		"no struct": reflect.TypeFor[int](),
		"nothing":   nil,
	} {
		require.False(t, alike(ours, theirs), name)
	}
	require.True(t, alike(ours, change(0, ours.Field(0))), "the same but for its name")
	require.True(t, alike(reflect.TypeFor[logRecordSlice](), reflect.TypeFor[struct {
		orig  *[]*logRecord
		state *int32
	}]()), "what a reference does not read may be any pointer")
	require.False(t, alike(reflect.TypeFor[logRecordSlice](), reflect.TypeFor[struct {
		orig  *[]logRecord
		state *int32
	}]()))
}

func TestArenaIsNotUsedWithPools(t *testing.T) {
	usePools(t)
	require.False(t, direct())
}

// usePools has pdata take memory from pools until the test ends.
func usePools(t *testing.T) {
	require.NoError(t, featuregate.GlobalRegistry().Set(gateOfPools().ID(), true))
	t.Cleanup(func() { require.NoError(t, featuregate.GlobalRegistry().Set(gateOfPools().ID(), false)) })
}

func TestArenaMakesWhatPdataMakes(t *testing.T) {
	event := &Event{Name: "container.die", Attributes: pcommon.NewMap()}
	event.Attributes.PutInt("process.exit.code", 3)
	records := []Record{
		{Body: "text"},
		{},
		{Body: "of a time", Time: 1 << 60, Iostream: Stdout},
		{Body: "\xff", Bytes: true, Iostream: Stderr},
		{Body: "beginning", Truncated: true, Offset: 7, Number: 8},
		{Body: "rest", Continued: true, Malformed: true},
		{Body: "died", Event: event},
	}
	attributes := map[string]func(pcommon.Map){
		"none": func(pcommon.Map) {},
		"one":  func(m pcommon.Map) { m.PutStr("log.file.name", "a.log") },
		"many": func(m pcommon.Map) {
			for i := range 2 * chunkPairs {
				m.PutStr(fmt.Sprint("attribute", i), strings.Repeat("v", i))
			}
		},
		"no text": func(m pcommon.Map) {
			m.PutStr("a", "b")
			m.PutInt("n", 5)
			m.PutEmptySlice("s").AppendEmpty().SetStr("x")
		},
	}
	for name, put := range attributes {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, own %t", name, own), func(t *testing.T) {
				build := func() plog.Logs {
					source := textSource()
					source.Offsets, source.Numbers = own, own
					put(source.Attributes)
					b := &Batch{single: true}
					b.Observe(time.Unix(9, 0))
					for i := range 5 * chunkRecords {
						b.Add(source, &records[i%len(records)])
					}
					return b.next("scope", "1")
				}
				encoded := func(t *testing.T) string {
					encoded, err := (&plog.JSONMarshaler{}).MarshalLogs(build())
					require.NoError(t, err)
					return string(encoded)
				}
				var want string
				t.Run("by pdata", func(t *testing.T) {
					usePools(t)
					want = encoded(t)
				})
				require.JSONEq(t, want, encoded(t))
			})
		}
	}
}

// Whoever is downstream may change records if it says so, and keep some of them.
func TestRecordsOfAnArenaAreIndependent(t *testing.T) {
	const n = 3 * chunkRecords
	source := textSource()
	source.Attributes.PutStr("log.file.name", "a.log")
	b := &Batch{}
	for i := range n {
		b.Add(source, &Record{Body: fmt.Sprint(i), Iostream: Stdout})
	}
	logs := b.next("scope", "1")
	b.Reset()
	records := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	for i, lr := range records.All() {
		if i%2 == 1 {
			lr.Body().SetStr("changed")
			lr.Attributes().PutStr("log.file.name", "changed")
			lr.Attributes().PutStr("log.iostream", "changed")
			lr.Attributes().PutInt("more", 1)
			lr.SetSeverityText("changed")
		}
	}
	for i, lr := range records.All() {
		if i%2 == 0 {
			require.Equal(t, fmt.Sprint(i), lr.Body().Str())
			require.Equal(t, map[string]any{"log.file.name": "a.log", "log.iostream": "stdout"}, lr.Attributes().AsRaw())
			require.Empty(t, lr.SeverityText())
		}
	}
	removed := 0
	records.RemoveIf(func(lr plog.LogRecord) bool { removed++; return lr.SeverityText() == "" })
	require.Equal(t, n, removed)
	require.Equal(t, n/2, records.Len())
	require.Equal(t, "changed", records.At(0).Body().Str())
	require.Equal(t, "a.log", source.Attributes.AsRaw()["log.file.name"])
}

// Where nobody changes records, they share their attributes; those that have more than the others have a copy.
func TestRecordsThatNobodyChangesShareTheirAttributes(t *testing.T) {
	source := textSource()
	source.Attributes.PutStr("log.file.name", "a.log")
	source.Attributes.PutBool("log.record.truncated", false) // as a user may set
	source.Attributes.PutStr("event.key", "of the source")
	b := &Batch{single: true}
	event := &Event{Name: "event", Attributes: pcommon.NewMap()}
	event.Attributes.PutStr("event.key", "of the event")
	want := source.Attributes.AsRaw()
	for _, r := range []Record{{Body: "plain"}, {Body: "cut", Truncated: true}, {Body: "event", Event: event}, {Body: "plain"}} {
		b.Add(source, &r)
	}
	records := b.next("scope", "1").ResourceLogs().At(0).ScopeLogs().At(0).LogRecords()
	attributes := func(i int) pcommon.Map { return records.At(i).Attributes() }
	first, last := attributes(0), attributes(3)
	require.Same(t, &(*pairsOf(&first))[0], &(*pairsOf(&last))[0])
	require.Equal(t, want, first.AsRaw())
	require.Equal(t, want, source.Attributes.AsRaw())
	require.Equal(t, map[string]any{"log.file.name": "a.log", "log.record.truncated": true, "event.key": "of the source"}, attributes(1).AsRaw())
	require.Equal(t, map[string]any{"log.file.name": "a.log", "log.record.truncated": false, "event.key": "of the event"}, attributes(2).AsRaw())
}

// The memory of an arena is the garbage collector's, who finds all that a record refers to.
func TestRecordsOfAnArenaSurviveGarbageCollections(t *testing.T) {
	stop := make(chan struct{})
	var collected sync.WaitGroup
	collected.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	defer collected.Wait()
	defer close(stop)
	var kept []plog.LogRecord
	for round := range 300 {
		source := textSource()
		source.Attributes.PutStr("log.file.name", strings.Clone(fmt.Sprint("file", round)))
		b := &Batch{single: true}
		for i := range 2 * chunkRecords {
			b.Add(source, &Record{Body: b.Text([]byte(fmt.Sprint(round, ".", i))), Iostream: Stderr})
		}
		kept = append(kept, b.next("scope", "1").ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(round%chunkRecords))
		b.Reset()
	}
	for round, lr := range kept {
		require.Equal(t, fmt.Sprint(round, ".", round%chunkRecords), lr.Body().Str())
		require.Equal(t, map[string]any{"log.file.name": fmt.Sprint("file", round), "log.iostream": "stderr"}, lr.Attributes().AsRaw())
	}
}

func TestArenaOfASmallBatchIsSmall(t *testing.T) {
	source := textSource()
	b := &Batch{}
	b.Add(source, &Record{Body: "one"})
	require.Empty(t, b.arena.records)
	b.Add(source, &Record{Body: "two"})
	b.Add(source, &Record{Body: "three"})
	require.LessOrEqual(t, cap(b.arena.records), 3)
}
