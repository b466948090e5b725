//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"google.golang.org/grpc/codes"
)

// fromFiles says that a request has records of files; a batch is of one receiver.
func fromFiles(logs plog.Logs) bool {
	_, container := logs.ResourceLogs().At(0).Resource().Attributes().Get("container.name")
	return !container
}

// TestPermanentErrorsAreCountedAndToldOnce: what the backend refuses for good is lost, and nothing else; the metric has each record of it,
// and the log one line for a run of errors.
func TestPermanentErrorsAreCountedAndToldOnce(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	c.sink.forgetAll()
	var rejected atomic.Int64
	requests := 0
	captured(t, c.lines, 500)
	c.sink.behave(behaviour{judge: func(logs plog.Logs) codes.Code {
		if requests++; requests%3 != 0 {
			return codes.OK
		}
		rejected.Add(int64(logs.LogRecordCount()))
		return codes.InvalidArgument
	}})
	captured(t, c.lines, 1000)
	// A run of errors: nothing in between works.
	c.sink.behave(behaviour{judge: func(logs plog.Logs) codes.Code {
		rejected.Add(int64(logs.LogRecordCount()))
		return codes.InvalidArgument
	}})
	c.goesOn(t, 100) // and what was judged before is told
	told := strings.Count(c.col.log(), "Records dropped")
	c.goesOn(t, 300)
	c.sink.behave(behaviour{})
	captured(t, c.lines, 500)
	if n := strings.Count(c.col.log(), "Records dropped") - told; n > 2 { // one for each receiver
		t.Errorf("a run of errors was told %d times", n)
	}
	if !strings.Contains(c.col.log(), "the sink judges") {
		t.Error("the log does not say why")
	}
	c.written.end(c.lines)
	expectLogs(t, c.lines, c.running)
	eventually(t, completionLimit, "all lines but the rejected", func() string {
		if lost, want := c.lines.lost(), int(rejected.Load()); lost != want {
			return fmt.Sprintf("%d are missing, %d were rejected", lost, want)
		}
		return ""
	})
	if n := c.metric(t, "records_dropped", "permanent_error"); n != int(rejected.Load()) {
		t.Errorf("the metric says %d records, %d were rejected", n, rejected.Load())
	}
	if n := c.lines.repeats(); n != 0 {
		t.Errorf("%d lines came again", n)
	}
	t.Logf("%d of %d lines were rejected", rejected.Load(), c.lines.count()+c.lines.lost())
	c.col.stop(stopLimit)
}

// TestPartialSuccessIsTheBackendsLastWord: OTLP forbids to send again what a partial success has rejected. Reading goes on.
func TestPartialSuccessIsTheBackendsLastWord(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	c.sink.behave(behaviour{partial: true})
	eventually(t, readyLimit, "a partial success that the exporter tells", func() string {
		if !strings.Contains(c.col.log(), "Partial success") {
			return "none"
		}
		return ""
	})
	c.sink.behave(behaviour{})
	captured(t, c.lines, 500)
	if n := c.lines.repeats(); n != 0 {
		t.Errorf("%d lines came again", n)
	}
	c.col.stop(stopLimit)
}

// TestOtherSourcesGoOn: while the backend refuses one receiver's batches, the other's come, and nothing is lost.
func TestOtherSourcesGoOn(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	for _, files := range []bool{true, false} {
		c.sink.behave(behaviour{judge: func(logs plog.Logs) codes.Code {
			if fromFiles(logs) == files {
				return codes.Unavailable
			}
			return codes.OK
		}})
		captured(t, c.lines, 1000)
		c.sink.behave(behaviour{})
	}
	if n := c.metric(t, "records_dropped", ""); n != 0 {
		t.Errorf("%d records were dropped", n)
	}
	c.end(t)
	c.lines.exact(t)
}

// TestConnectionsThatBreakAndSlowAnswersLoseNothing: what the backend has taken and not answered comes again.
func TestConnectionsThatBreakAndSlowAnswersLoseNothing(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	c.sink.forgetAll()
	for range 10 {
		captured(t, c.lines, 100)
		c.sink.cut()
		c.sink.start(t)
	}
	writeLarge(t, c, 5) // a gRPC server takes 4 MiB at a time
	c.sink.behave(behaviour{delay: 300 * time.Millisecond})
	captured(t, c.lines, 1000)
	c.sink.behave(behaviour{loseAnswer: true})
	captured(t, c.lines, 100)
	c.sink.behave(behaviour{})
	if n := c.metric(t, "records_dropped", ""); n != 0 {
		t.Errorf("%d records were dropped", n)
	}
	c.end(t)
	t.Logf("%d of %d lines came again", c.lines.forgive(), c.lines.count())
	c.lines.exact(t)
}

// TestMemoryLimiterMakesReadingWait: a limiter that refuses everything is backpressure. Nothing is dropped, and all comes when it lets go.
func TestMemoryLimiterMakesReadingWait(t *testing.T) {
	t.Parallel()
	limited := settings{shipped: "direct.yaml", more: map[string]any{
		"processors": map[string]any{"memory_limiter": map[string]any{"check_interval": "20ms", "limit_mib": 2, "spike_limit_mib": 1}},
	}}
	c := newCapture(t, limited)
	c.goesOn(t, 300)
	eventually(t, readyLimit, "refusals of both receivers", func() string {
		if c.metric(t, "retries", "file_tail") > 0 && c.metric(t, "retries", "container_log") > 0 {
			return ""
		}
		return "none"
	})
	c.goesOn(t, 300) // and what had passed before the limiter refused has come
	taken := c.lines.count()
	c.goesOn(t, 300)
	if n := c.lines.count(); n != taken {
		t.Errorf("the limiter let %d lines pass: this test shows nothing", n-taken)
	}
	if n := c.metric(t, "records_dropped", ""); n != 0 {
		t.Errorf("%d records were dropped", n)
	}
	c.col.stop(stopLimit)
	c.reconfigure(t, settings{shipped: "direct.yaml"})
	c.col.start()
	c.end(t)
	c.lines.exact(t)
}
