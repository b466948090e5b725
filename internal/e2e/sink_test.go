//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // the exporter compresses by default
	"google.golang.org/grpc/status"
)

// record is a log record as it arrived. The maps are shared and not to be changed.
type record struct {
	resource, attrs map[string]any
	scope           string
	body            string
	stamp, observed time.Time
	request         int // the number of the request it came in
}

func (r record) str(key string) string {
	if v, ok := r.attrs[key].(string); ok {
		return v
	}
	v, _ := r.resource[key].(string)
	return v
}

// behaviour is what the sink does with requests. The zero value takes them.
type behaviour struct {
	// refuse answers with this code and forgets the records.
	refuse codes.Code
	// delay holds each request back before anything else.
	delay time.Duration
	// hang never answers, until the request is given up or the behaviour changes; then the request is refused.
	hang bool
	// loseAnswer takes the records and reports a failure all the same.
	loseAnswer bool
	// judge, where it is set, says the answer to a request, one call at a time: what it refuses is forgotten.
	judge func(plog.Logs) codes.Code
	// partial forgets every record and answers with a success that says so.
	partial bool
}

// sink is an OTLP server over gRPC as a user runs one, with the usual limit of 4 MiB per message.
type sink struct {
	plogotlp.UnimplementedGRPCServer
	addr string
	// keep says which records to keep, by their resource; nil keeps all. Set before the first request.
	keep func(resource map[string]any) bool
	// each sees the kept records in the order of arrival, one call at a time. Set before the first request.
	each func(record)
	// forget drops the records after each has seen them.
	forget bool

	serverMu sync.Mutex // guards server, done
	server   *grpc.Server
	done     chan struct{}

	mu       sync.Mutex // guards everything below
	mode     behaviour
	changed  chan struct{} // closed when mode changes
	records  []record
	requests int
	refused  int
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{addr: loopback() + ":0", changed: make(chan struct{})}
	s.start(t)
	t.Cleanup(s.cut)
	return s
}

// start listens, after the first time on the same port.
func (s *sink) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		t.Fatalf("start sink: %v", err)
	}
	s.addr = listener.Addr().String()
	server, done := grpc.NewServer(grpc.WaitForHandlers(true)), make(chan struct{})
	plogotlp.RegisterGRPCServer(server, s)
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	s.serverMu.Lock()
	defer s.serverMu.Unlock()
	s.server, s.done = server, done
}

// stop answers the requests in flight, then closes the port.
func (s *sink) stop() { s.end((*grpc.Server).GracefulStop) }

// cut breaks the connections, requests in flight or not.
func (s *sink) cut() { s.end((*grpc.Server).Stop) }

func (s *sink) end(how func(*grpc.Server)) {
	s.serverMu.Lock()
	defer s.serverMu.Unlock()
	if s.server == nil {
		return
	}
	how(s.server)
	<-s.done
	s.server = nil
}

func (s *sink) behave(mode behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = mode
	close(s.changed)
	s.changed = make(chan struct{})
}

// Export implements plogotlp.GRPCServer.
func (s *sink) Export(ctx context.Context, req plogotlp.ExportRequest) (plogotlp.ExportResponse, error) {
	s.mu.Lock()
	s.requests++
	number, mode, changed := s.requests, s.mode, s.changed
	s.mu.Unlock()

	answer := plogotlp.NewExportResponse()
	if mode.delay > 0 {
		select {
		case <-time.After(mode.delay):
		case <-ctx.Done():
			return answer, status.FromContextError(ctx.Err()).Err()
		}
	}
	if mode.hang {
		select {
		case <-changed:
			return answer, status.Error(codes.Unavailable, "the sink hung")
		case <-ctx.Done():
			return answer, status.FromContextError(ctx.Err()).Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if mode.refuse != codes.OK {
		s.refused++
		return answer, status.Error(mode.refuse, "the sink refuses")
	}
	if mode.judge != nil {
		if code := mode.judge(req.Logs()); code != codes.OK {
			s.refused++
			return answer, status.Error(code, "the sink judges")
		}
	}
	if mode.partial {
		answer.PartialSuccess().SetRejectedLogRecords(int64(req.Logs().LogRecordCount()))
		answer.PartialSuccess().SetErrorMessage("the sink takes none of it")
		return answer, nil
	}
	s.take(number, req.Logs())
	if mode.loseAnswer {
		return answer, status.Error(codes.Unavailable, "the sink loses its answer")
	}
	return answer, nil
}

func (s *sink) take(number int, logs plog.Logs) {
	for _, resource := range logs.ResourceLogs().All() {
		attrs := resource.Resource().Attributes().AsRaw()
		if s.keep != nil && !s.keep(attrs) {
			continue
		}
		for _, scope := range resource.ScopeLogs().All() {
			for _, log := range scope.LogRecords().All() {
				s.takeRecord(record{
					resource: attrs, attrs: log.Attributes().AsRaw(), scope: scope.Scope().Name(),
					body: bodyText(log.Body()), stamp: log.Timestamp().AsTime(), observed: log.ObservedTimestamp().AsTime(),
					request: number,
				})
			}
		}
	}
}

func (s *sink) takeRecord(r record) {
	if s.each != nil {
		s.each(r)
	}
	if !s.forget {
		s.records = append(s.records, r)
	}
}

// bodyText keeps a body that is not a string apart from every real line.
func bodyText(v pcommon.Value) string {
	if v.Type() == pcommon.ValueTypeStr {
		return v.Str()
	}
	return fmt.Sprintf("\x00%s:%s", v.Type(), v.AsString())
}

// all returns the records kept so far.
func (s *sink) all() []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[:len(s.records):len(s.records)]
}

func (s *sink) where(match func(record) bool) []record {
	var found []record
	for _, r := range s.all() {
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}

// forgetAll keeps no record from now on; a long test would fill the memory.
func (s *sink) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget, s.records = true, nil
}

func (s *sink) refusals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// export sends one record as an exporter does.
func export(t *testing.T, addr, body string) error {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("container.name", "one")
	log := resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
	log.Body().SetStr(body)
	log.Attributes().PutStr("log.iostream", "stderr")
	log.SetTimestamp(1_700_000_000_123_456_789)
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	_, err = plogotlp.NewGRPCClient(conn).Export(ctx, plogotlp.NewExportRequestFromLogs(logs))
	return err
}

func TestSinkKeepsWhatItTook(t *testing.T) {
	s := newSink(t)
	if err := export(t, s.addr, "  line \x7f"); err != nil {
		t.Fatal(err)
	}
	got := s.all()
	if len(got) != 1 || got[0].body != "  line \x7f" || got[0].str("container.name") != "one" || got[0].str("log.iostream") != "stderr" {
		t.Fatalf("got %+v", got)
	}
	if want := time.Unix(0, 1_700_000_000_123_456_789); !got[0].stamp.Equal(want) {
		t.Errorf("stamp %v, want %v", got[0].stamp, want)
	}
}

func TestSinkBehaves(t *testing.T) {
	s := newSink(t)
	for name, tc := range map[string]struct {
		mode behaviour
		code codes.Code
		kept int
	}{
		"takes":       {kept: 1},
		"unavailable": {mode: behaviour{refuse: codes.Unavailable}, code: codes.Unavailable},
		"exhausted":   {mode: behaviour{refuse: codes.ResourceExhausted}, code: codes.ResourceExhausted},
		"invalid":     {mode: behaviour{refuse: codes.InvalidArgument}, code: codes.InvalidArgument},
		"slow":        {mode: behaviour{delay: 50 * time.Millisecond}, kept: 1},
		"forgetful":   {mode: behaviour{loseAnswer: true}, code: codes.Unavailable, kept: 1},
	} {
		s.behave(tc.mode)
		before, begin := len(s.all()), time.Now()
		if err := export(t, s.addr, name); status.Code(err) != tc.code {
			t.Errorf("%s: got %v, want %v", name, err, tc.code)
		}
		if got := len(s.all()) - before; got != tc.kept {
			t.Errorf("%s: kept %d records, want %d", name, got, tc.kept)
		}
		if took := time.Since(begin); took < tc.mode.delay {
			t.Errorf("%s: took %v", name, took)
		}
	}
}

func TestSinkHangsUntilItIsChanged(t *testing.T) {
	s := newSink(t)
	s.behave(behaviour{hang: true})
	answered := make(chan error)
	go func() { answered <- export(t, s.addr, "x") }()
	eventually(t, readyLimit, "request", func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.requests == 0 {
			return "none"
		}
		return ""
	})
	select {
	case err := <-answered:
		t.Fatalf("answered: %v", err)
	default:
	}
	s.behave(behaviour{})
	if err := <-answered; status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v", err)
	}
}

func TestSinkComesBackOnTheSamePort(t *testing.T) {
	s := newSink(t)
	addr := s.addr
	for _, end := range []func(){s.stop, s.cut, s.cut} {
		end()
		if err := export(t, addr, "x"); status.Code(err) != codes.Unavailable {
			t.Fatalf("stopped: got %v", err)
		}
		if end(); s.server == nil { // ending twice does no harm
			s.start(t)
		}
		if err := export(t, addr, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.all()); got != 3 {
		t.Fatalf("kept %d records, want 3", got)
	}
}
