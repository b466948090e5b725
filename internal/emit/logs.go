package emit

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Names of the attributes that belong to a single record. iostream: OpenTelemetry semantic conventions; offset and number: as
// contrib's file_log names them; for the others there is no convention.
const (
	attributeIostream  = "log.iostream"
	attributeOffset    = "log.file.record_offset"
	attributeNumber    = "log.file.record_number"
	attributeTruncated = "log.record.truncated"
	attributeContinued = "log.record.continued"
	attributeMalformed = "log.record.malformed"
)

// name puts the instrumentation scope on all records.
func name(logs plog.Logs, scope, version string) {
	for _, rl := range logs.ResourceLogs().All() {
		s := rl.ScopeLogs().At(0).Scope()
		s.SetName(scope)
		s.SetVersion(version)
	}
}

// own counts the attributes that a record has for itself.
func (s *Source) own(r *Record) (n int) {
	for _, has := range [...]bool{s.Offsets, s.Numbers, r.Truncated, r.Continued, r.Malformed} {
		if has {
			n++
		}
	}
	if r.Event != nil {
		n += r.Event.Attributes.Len()
	}
	return n
}

// common returns the attributes that all records of a stream have, which it makes with the first.
func (s *Source) common(stream Iostream) pcommon.Map {
	if stream == 0 {
		return s.Attributes
	}
	common := &s.streams[stream-1]
	if *common == (pcommon.Map{}) {
		*common = pcommon.NewMap()
		common.EnsureCapacity(s.Attributes.Len() + 1)
		s.Attributes.CopyTo(*common)
		common.PutStr(attributeIostream, stream.String())
	}
	return *common
}

func (b *Batch) fill(source *Source, r *Record) {
	lr := b.arena.appendTo(b.records, r.Body)
	if r.Time != 0 {
		lr.SetTimestamp(pcommon.Timestamp(r.Time))
	}
	lr.SetObservedTimestamp(b.observed)
	if r.Bytes {
		lr.Body().SetEmptyBytes().FromRaw([]byte(r.Body))
	}
	attributes := lr.Attributes()
	b.arena.copyTo(source.common(r.Iostream), attributes, source.own(r))
	if source.Offsets {
		attributes.PutInt(attributeOffset, r.Offset)
	}
	if source.Numbers {
		attributes.PutInt(attributeNumber, r.Number)
	}
	if r.Truncated {
		attributes.PutBool(attributeTruncated, true)
	}
	if r.Continued {
		attributes.PutBool(attributeContinued, true)
	}
	if r.Malformed {
		attributes.PutBool(attributeMalformed, true)
	}
	if r.Event != nil {
		lr.SetEventName(r.Event.Name)
		for key, value := range r.Event.Attributes.All() {
			value.CopyTo(attributes.PutEmpty(key))
		}
	}
}
