package emit

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// The most that shares one allocation. A chunk of records or pairs has 8 bytes before it, and with them fills a size that Go has memory of
// (runtime/sizeclasses.go): 6784 and 1280 bytes. Of these sizes, and that of texts, six and more share a span; sizes that have one of its own,
// such as 8 and 16 KiB, cost more, for each has to be taken from the heap and given back. More gains nothing, and one kept record pins it.
const (
	chunkText    = 9472
	chunkRecords = 47
	chunkPairs   = 31
	// longText takes less by itself than what chunks would leave unused at their end.
	longText = chunkText / 8
)

// arena does what pdata's own functions do, and takes the memory for many records at once: those allocate each record by itself, each
// text in it and each set of attributes, which is most of what a short line costs.
//
// It writes to pdata's memory by types of its own that are laid out the same, which is looked at once. Where they are not, in a collector
// with another version of pdata, and with the feature gate pdata.useProtoPooling, it calls pdata's functions: what is taken from elsewhere
// must not get into those pools, which nothing would take it from again.
//
// What it gives out is garbage collected like any memory. So that one kept record pins little, records that share memory have their texts
// in one chunk too. An arena is used by one goroutine at a time; the zero value calls pdata.
type arena struct {
	direct  bool
	shares  bool            // nobody changes the records
	size    int             // of the texts so far
	text    strings.Builder // the chunk that is being filled
	made    int             // records whose texts are in it
	records []bodied
	pairs   []keyValue
}

// bodied is a record and the text that is its body.
type bodied struct {
	record logRecord
	body   stringValue
}

// copyText copies p. Chunks grow with what there is, so that one line does not take a whole chunk.
func (a *arena) copyText(p []byte) string {
	if a.text.Cap()-a.text.Len() < len(p) {
		if len(p) >= longText {
			return string(p)
		}
		a.made, a.records, a.pairs = 0, nil, nil
		a.text.Reset()
		a.text.Grow(max(len(p), min(chunkText, a.size)))
	}
	a.size += len(p)
	start := a.text.Len()
	a.text.Write(p)
	return a.text.String()[start:]
}

// ahead guesses how many records there will be before the chunk of texts is full, that which was begun last included.
func (a *arena) ahead() int {
	each := max(1, a.text.Len()/max(1, a.made))
	return 1 + (a.text.Cap()-a.text.Len())/each
}

// appendTo is [plog.LogRecordSlice.AppendEmpty] and [pcommon.Value.SetStr] of the body. A record with a long body shares memory with no other.
func (a *arena) appendTo(records plog.LogRecordSlice, body string) plog.LogRecord {
	if !a.direct || len(body) >= longText {
		lr := records.AppendEmpty()
		lr.Body().SetStr(body)
		return lr
	}
	a.made++
	if len(a.records) == 0 {
		a.records = make([]bodied, min(chunkRecords, a.ahead()))
	}
	next := &a.records[0]
	a.records = a.records[1:]
	next.body.StringValue = body
	*dynamicOf(&next.record.Body) = dynamic{kind: kindOfText, data: unsafe.Pointer(&next.body)}
	elements := (*logRecordSlice)(unsafe.Pointer(&records)).orig
	*elements = append(*elements, &next.record)
	return records.At(len(*elements) - 1)
}

// copyTo is [pcommon.Map.CopyTo] to a map that is empty, and leaves it room for more. The copies refer to the texts of the original: pdata
// puts another text in the place of one, and changes none. Where nobody changes the records, they refer to the original itself.
func (a *arena) copyTo(from, to pcommon.Map, more int) {
	n := from.Len() + more
	if n == 0 {
		return
	}
	if a.direct && a.shares && more == 0 {
		*pairsOf(&to) = slices.Clip(*pairsOf(&from))
		return
	}
	if !a.direct || !allTexts(*pairsOf(&from)) {
		to.EnsureCapacity(n)
		from.CopyTo(to)
		return
	}
	if len(a.pairs) < n {
		a.pairs = make([]keyValue, max(n, min(chunkPairs, n*a.ahead())))
	}
	copies := a.pairs[:copy(a.pairs, *pairsOf(&from)):n]
	a.pairs = a.pairs[n:]
	*pairsOf(&to) = copies
}

func allTexts(pairs []keyValue) bool {
	for i := range pairs {
		if dynamicOf(&pairs[i].Value).kind != kindOfText {
			return false
		}
	}
	return true
}

func pairsOf(m *pcommon.Map) *[]keyValue     { return (*mapRef)(unsafe.Pointer(m)).orig }
func dynamicOf(value *anyValue) *dynamic     { return (*dynamic)(unsafe.Pointer(&value.Value)) }
func valueOf(value *pcommon.Value) *anyValue { return (*valueRef)(unsafe.Pointer(value)).orig }

// Types of pdata's internal package and of its references to them, as of v1.67.0.
type (
	logRecordSlice struct {
		orig  *[]*logRecord
		state unsafe.Pointer
	}
	mapRef struct {
		orig  *[]keyValue
		state unsafe.Pointer
	}
	valueRef struct {
		orig  *anyValue
		state unsafe.Pointer
	}
	logRecord struct {
		TimeUnixNano           uint64
		ObservedTimeUnixNano   uint64
		SeverityNumber         int32
		SeverityText           string
		Body                   anyValue
		Attributes             []keyValue
		DroppedAttributesCount uint32
		Flags                  uint32
		TraceId                [16]byte //nolint:staticcheck // pdata names it so
		SpanId                 [8]byte  //nolint:staticcheck // pdata names it so
		EventName              string
	}
	keyValue struct {
		Key         string
		Value       anyValue
		KeyStrindex int32
	}
	anyValue    struct{ Value any }
	stringValue struct{ StringValue string }
)

// dynamic is how Go lays out an interface without methods (type eface of its package runtime).
type dynamic struct {
	kind uintptr // types are no memory of the garbage collector
	data unsafe.Pointer
}

// kindOfText is the dynamic type of a value that is a text. It is 0 where pdata is not laid out like the types here, or changes texts.
var kindOfText = func() uintptr {
	if !alike(reflect.TypeFor[logRecordSlice](), reflect.TypeFor[plog.LogRecordSlice]()) ||
		!alike(reflect.TypeFor[mapRef](), reflect.TypeFor[pcommon.Map]()) ||
		!alike(reflect.TypeFor[valueRef](), reflect.TypeFor[pcommon.Value]()) {
		return 0
	}
	value := pcommon.NewValueStr("")
	text := valueOf(&value)
	if !alike(reflect.TypeFor[*stringValue](), reflect.TypeOf(text.Value)) {
		return 0
	}
	if !replacesTexts() {
		return 0
	}
	return dynamicOf(text).kind
}()

// replacesTexts says whether what two maps refer to is left as it was when the value in one of them is changed.
func replacesTexts() bool {
	other := pcommon.NewValueStr("other")
	for _, change := range []func(pcommon.Map, pcommon.Value){
		func(m pcommon.Map, _ pcommon.Value) { m.PutStr("key", "other") },
		func(m pcommon.Map, _ pcommon.Value) { m.PutInt("key", 1) },
		func(m pcommon.Map, _ pcommon.Value) { m.Remove("key") },
		func(m pcommon.Map, _ pcommon.Value) { _ = m.FromRaw(map[string]any{"key": "other"}) },
		func(m pcommon.Map, _ pcommon.Value) { pcommon.NewMap().CopyTo(m) },
		func(_ pcommon.Map, v pcommon.Value) { v.SetStr("other") },
		func(_ pcommon.Map, v pcommon.Value) { v.SetEmptyBytes() },
		func(_ pcommon.Map, v pcommon.Value) { _ = v.FromRaw("other") },
		func(_ pcommon.Map, v pcommon.Value) { other.CopyTo(v) },
	} {
		original, shared := pcommon.NewMap(), pcommon.NewMap()
		original.PutStr("key", "as it was")
		*pairsOf(&shared) = slices.Clone(*pairsOf(&original))
		value, _ := shared.Get("key")
		change(shared, value)
		if left, _ := original.Get("key"); left.Str() != "as it was" {
			return false
		}
	}
	return true
}

// direct says whether pdata's memory can be written to.
func direct() bool { return kindOfText != 0 && !pooled() }

// alike says whether values of the two types are the same in memory, and their fields have the same names.
func alike(ours, theirs reflect.Type) bool {
	if theirs == nil {
		return false
	}
	if ours.Kind() == reflect.UnsafePointer {
		return theirs.Kind() == reflect.Pointer
	}
	if ours.Kind() != theirs.Kind() || ours.Size() != theirs.Size() {
		return false
	}
	switch ours.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return alike(ours.Elem(), theirs.Elem())
	case reflect.Interface:
		return theirs.NumMethod() == 0
	case reflect.Struct:
		if ours.NumField() != theirs.NumField() {
			return false
		}
		for i := range ours.NumField() {
			our, their := ours.Field(i), theirs.Field(i)
			if our.Name != their.Name || our.Offset != their.Offset || !alike(our.Type, their.Type) {
				return false
			}
		}
	}
	return true
}

// pooled says whether pdata takes memory from pools. A collector that does not know the gate any more may always do.
func pooled() bool {
	gate := gateOfPools()
	return gate == nil || gate.IsEnabled()
}

var gateOfPools = sync.OnceValue(func() (found *featuregate.Gate) {
	featuregate.GlobalRegistry().VisitAll(func(gate *featuregate.Gate) {
		if gate.ID() == "pdata.useProtoPooling" {
			found = gate
		}
	})
	return found
})
