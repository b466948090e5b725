package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // the sink takes compressed requests
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// sink is an OTLP server that counts. It runs in the process of the benchmark, so that its CPU is not the collector's, and
// does not decode more than it counts, so that it is never what a collector waits for.
type sink struct {
	server  *grpc.Server
	address string
	records atomic.Int64
	bytes   atomic.Int64 // of requests, uncompressed
	held    chan struct{}
	hold    atomic.Bool // leave requests unanswered

	mu    sync.Mutex
	timed bool // take the latency of lines that begin with a stamp
	late  map[byte][]time.Duration
	first []byte // the first request, decoded by those who ask
}

func newSink() (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{address: listener.Addr().String(), held: make(chan struct{}), late: make(map[byte][]time.Duration)}
	s.server = grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(s.export),
		grpc.MaxRecvMsgSize(64<<20))
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

func (s *sink) close() {
	close(s.held)
	s.server.Stop()
}

func (s *sink) export(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if s.hold.Load() {
		select {
		case <-s.held:
		case <-stream.Context().Done():
		}
		return errors.New("held")
	}
	now := time.Now()
	s.mu.Lock()
	timed := s.timed
	if s.first == nil {
		s.first = bytes.Clone(request)
	}
	s.mu.Unlock()
	var late []stamped
	count, err := walk(request, func(record []byte) {
		if timed {
			if l, ok := latency(record, now); ok {
				late = append(late, l)
			}
		}
	})
	if err != nil {
		return err
	}
	s.keep(late)
	s.bytes.Add(int64(len(request)))
	s.records.Add(int64(count))
	return stream.SendMsg([]byte{})
}

func (s *sink) keep(late []stamped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range late {
		s.late[l.class] = append(s.late[l.class], l.late)
	}
}

// measure begins anew to take latencies, or ends it.
func (s *sink) measure(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timed = on
	if on {
		clear(s.late)
	}
}

// quantiles returns p50 and p99 of a class of lines, and how many they were.
func (s *sink) quantiles(class byte) (p50, p99 time.Duration, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := slices.Sorted(slices.Values(s.late[class]))
	if len(late) == 0 {
		return 0, 0, 0
	}
	return late[len(late)/2], late[len(late)*99/100], len(late)
}

// stamped is the latency of a line of a class.
type stamped struct {
	class byte
	late  time.Duration
}

// stampSize is the length of a class, a blank, and nanoseconds since 1970.
const stampSize = 1 + 1 + 19

// stamp is how a timed line begins.
func stamp(class byte) string { return fmt.Sprintf("%c %d", class, time.Now().UnixNano()) }

func latency(record []byte, now time.Time) (stamped, bool) {
	body := field(field(record, 5), 1) // LogRecord.body, AnyValue.string_value
	if len(body) < stampSize {
		return stamped{}, false
	}
	nanos, err := strconv.ParseInt(string(body[2:stampSize]), 10, 64)
	if err != nil {
		return stamped{}, false
	}
	return stamped{body[0], now.Sub(time.Unix(0, nanos))}, true
}

// walk calls do with every log record of an ExportLogsServiceRequest.
func walk(request []byte, do func(record []byte)) (count int, err error) {
	err = each(request, 1, func(resourceLogs []byte) error {
		return each(resourceLogs, 2, func(scopeLogs []byte) error {
			return each(scopeLogs, 2, func(record []byte) error {
				count++
				do(record)
				return nil
			})
		})
	})
	return count, err
}

// each calls do with every message that stands in the field of that number.
func each(message []byte, number protowire.Number, do func([]byte) error) error {
	for len(message) > 0 {
		num, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if num == number && kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return protowire.ParseError(n)
			}
			if err := do(value); err != nil {
				return err
			}
			message = message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, kind, message); n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
	}
	return nil
}

// field returns the first value of that number, empty where there is none.
func field(message []byte, number protowire.Number) (value []byte) {
	_ = each(message, number, func(v []byte) error { value = v; return io.EOF })
	return value
}

// rawCodec leaves requests as they came.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// received waits until the sink has n records.
func (s *sink) received(ctx context.Context, n int64) error {
	return poll(ctx, 5*time.Millisecond, func() (bool, error) { return s.records.Load() >= n, nil })
}
