package emit

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
)

const (
	// MaxBatchBytes and MaxBatchRecords are where a batch is full. One more record of 1 MiB and what OTLP adds stay below the 4 MiB
	// that a gRPC server takes by default. More would cost, not save: what a batch holds is what the garbage collector finds alive.
	MaxBatchBytes   = 512 << 10
	MaxBatchRecords = 2048

	// recordOverhead estimates what a record takes beside its texts.
	recordOverhead = 48
)

// Iostream is the output stream of a process that a record was written to; the zero value is unknown.
type Iostream uint8

// The streams of a process.
const (
	Stdout Iostream = iota + 1
	Stderr
)

// String returns the value of the attribute log.iostream, empty for unknown.
func (s Iostream) String() string { return [...]string{"", "stdout", "stderr"}[s] }

// Resource is what a source is. Sources may share one; it is not changed once used.
type Resource struct{ Attributes pcommon.Map }

// Source is where records come from. It is not changed once used, and is in one batch at a time.
type Source struct {
	Resource *Resource
	// Attributes are put on every record.
	Attributes pcommon.Map
	// Offsets and Numbers put log.file.record_offset and log.file.record_number on every record.
	Offsets, Numbers bool

	size    int            // estimated size of the attributes, set with the first record
	latest  int            // records of the run before this one
	streams [2]pcommon.Map // see common
}

// Record is one log record before it becomes part of a plog.
type Record struct {
	Body      string
	Time      int64 // nanoseconds since the Unix epoch as the source says; 0 where it says nothing
	Offset    int64 // bytes before the record in its file
	Number    int64 // 1 for the first record of a file
	Iostream  Iostream
	Bytes     bool   // the body is bytes, not text
	Truncated bool   // the body ends before the line does
	Continued bool   // a record before this has the beginning of the line
	Malformed bool   // the line was not in the format that it should have, and is the body as it is
	Event     *Event // for records that are no log lines
}

// Event makes a record an event: a name, and attributes of its own.
type Event struct {
	Name       string
	Attributes pcommon.Map
}

// Batch collects records, in order per source, as the plog that is delivered. It is used again after Reset, and by one goroutine at a
// time. The zero value is empty.
type Batch struct {
	logs     plog.Logs
	records  plog.LogRecordSlice // of logs, where the next one is added
	source   *Source             // of the last record
	run      int                 // records of that without another in between
	count    int
	bytes    int
	marks    Marks
	observed pcommon.Timestamp
	arena    arena

	// What the plog was made of, to make it anew when a consumer that may have changed it has refused it.
	sent     bool
	single   bool // nobody changes it: it can be sent again as it is, and its records share what is the same in them
	kept     []Record
	sections []section
}

// Marks count records by what is wrong with them.
type Marks struct{ Truncated, Malformed int }

// section is a run of records of one source that were read at one time.
type section struct {
	source   *Source
	observed pcommon.Timestamp
	count    int
}

// Add appends a record. Its body must not change afterwards.
func (b *Batch) Add(source *Source, r *Record) {
	b.add(source, r)
	if !b.single {
		b.keep(source, r)
	}
}

func (b *Batch) add(source *Source, r *Record) {
	if b.source != source {
		b.begin(source)
	}
	if r.Truncated {
		b.marks.Truncated++
	}
	if r.Malformed {
		b.marks.Malformed++
	}
	b.run++
	b.count++
	b.bytes += len(r.Body) + source.size
	b.fill(source, r)
}

// begin begins a run of records of a source. Neighbouring runs of one resource share a ResourceLogs.
func (b *Batch) begin(source *Source) {
	if b.count == 0 {
		b.logs, b.arena.direct, b.arena.shares = plog.NewLogs(), direct(), b.single
	} else if b.sent && !b.single { // and was not taken: that one is the consumer's
		b.logs, b.sent = b.anew(), false
	} else if b.sent { // nor can be changed: the collector has it read by several consumers
		logs := plog.NewLogs()
		b.logs.CopyTo(logs)
		pref.UnrefLogs(b.logs)
		b.logs, b.sent = logs, false
	}
	if source.size == 0 {
		source.size = recordOverhead + mapSize(source.Attributes)
	}
	if b.source == nil || b.source.Resource != source.Resource {
		rl := b.logs.ResourceLogs().AppendEmpty()
		source.Resource.Attributes.CopyTo(rl.Resource().Attributes())
		b.records = rl.ScopeLogs().AppendEmpty().LogRecords()
	}
	b.end()
	b.source = source
	// A source often has as much as the last time. Where that is little, the slice grows by itself, in fewer steps.
	if source.latest > b.records.Len() {
		b.records.EnsureCapacity(b.records.Len() + source.latest)
	}
}

// end ends a run of records, before the source may be in another batch.
func (b *Batch) end() {
	if b.source != nil {
		b.source.latest = b.run
	}
	b.source, b.run = nil, 0
}

func (b *Batch) keep(source *Source, r *Record) {
	n := len(b.sections)
	if n == 0 || b.sections[n-1].source != source || b.sections[n-1].observed != b.observed {
		b.sections = append(b.sections, section{source: source, observed: b.observed})
		n++
	}
	b.sections[n-1].count++
	b.kept = append(b.kept, *r)
}

// next returns the plog for the next try. One that is sent again is referred to until Reset: with the feature gate pdata.useProtoPooling, the
// pipeline empties what nobody refers to when ConsumeLogs returns, with an error too.
func (b *Batch) next(scope, version string) plog.Logs {
	switch {
	case !b.sent:
		b.sent = true
		b.end()
		name(b.logs, scope, version)
		if b.single {
			pref.RefLogs(b.logs)
		}
	case !b.single:
		logs := b.anew()
		name(logs, scope, version)
		return logs
	}
	return b.logs
}

// anew makes the plog once more.
func (b *Batch) anew() plog.Logs {
	var other Batch
	next := 0
	for _, s := range b.sections {
		other.observed = s.observed
		for i := range s.count {
			other.add(s.source, &b.kept[next+i])
		}
		next += s.count
	}
	return other.logs
}

// Text copies p into memory of the batch. Neighbouring short texts share an allocation of some 9 KiB at most.
func (b *Batch) Text(p []byte) string { return b.arena.copyText(p) }

// Len returns the number of records.
func (b *Batch) Len() int { return b.count }

// Bytes returns the estimated size as OTLP.
func (b *Batch) Bytes() int { return b.bytes }

// Full says that the batch should be delivered before more is added.
func (b *Batch) Full() bool { return b.bytes >= MaxBatchBytes || b.count >= MaxBatchRecords }

// Observe says when the records that are added next were read.
func (b *Batch) Observe(t time.Time) { b.observed = pcommon.NewTimestampFromTime(t) }

// Reset empties the batch for the next use. It keeps no memory of the records, and not much for them.
func (b *Batch) Reset() {
	if b.sent && b.single {
		pref.UnrefLogs(b.logs)
	}
	b.source, b.run = nil, 0
	clear(b.kept)
	clear(b.sections)
	b.kept, b.sections = b.kept[:0], b.sections[:0]
	b.logs, b.records = plog.Logs{}, plog.LogRecordSlice{}
	b.marks = Marks{}
	b.count, b.bytes, b.sent = 0, 0, false
	b.arena = arena{}
}

func mapSize(m pcommon.Map) int {
	size := 0
	for key, value := range m.All() {
		size += len(key) + len(value.AsString()) + 8
	}
	return size
}
