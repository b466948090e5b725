package containerlogreceiver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/receiver/containerlogreceiver/internal/metadata"
)

// BenchmarkCatchUp reads a log that was written before, through the API of an imitated engine, with positions in a file storage. What the
// engine costs is little: it sends what was made ready, each line as a chunk of its own, as Docker does, but many with one write.
func BenchmarkCatchUp(b *testing.B) {
	const lines, length = 200_000, 200
	for name, apart := range map[string]time.Duration{"dense": 4 * time.Microsecond, "sparse": time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			e := newFakeEngine(b, nil)
			first := time.Now().Add(-lines * apart)
			var stream bytes.Buffer
			text := strings.Repeat("x", length) + "\n"
			for i := range lines {
				frame := e.frame(&fakeContainer{}, fakeRecord{at: first.Add(time.Duration(i) * apart), text: text})
				fmt.Fprintf(&stream, "%x\r\n%s\r\n", len(frame), frame)
			}
			e.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/logs") {
					e.ServeHTTP(w, r)
					return
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
				const block = 32 << 10
				for rest := stream.Bytes(); len(rest) > 0; {
					n, err := conn.Write(rest[:min(block, len(rest))])
					if err != nil {
						return
					}
					rest = rest[n:]
				}
				_, _ = conn.Read(make([]byte, 1)) // until it is closed
			})
			e.run(&fakeContainer{})
			b.SetBytes(int64(stream.Len()))
			b.ReportAllocs()
			for b.Loop() {
				catchUp(b, func(c *Config) { c.Endpoint = e.host }, lines)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*lines), "ns/line")
		})
	}
}

// catchUp runs a receiver until that many records have come.
func catchUp(b *testing.B, adjust func(*Config), records int64) {
	config := createDefaultConfig().(*Config)
	config.Storage, config.ReadFrom = &capturetest.StorageID, readAPI
	adjust(config)
	settings := receivertest.NewNopSettings(metadata.Type)
	settings.ID = component.NewID(metadata.Type)
	telemetry := componenttest.NewTelemetry()
	settings.TelemetrySettings = telemetry.NewTelemetrySettings()
	var came atomic.Int64
	done := make(chan struct{})
	next, err := consumer.NewLogs(func(_ context.Context, logs plog.Logs) error {
		n := int64(logs.LogRecordCount())
		if came.Add(n) >= records && came.Load()-n < records {
			close(done)
		}
		return nil
	})
	require.NoError(b, err)
	r, err := NewFactory().CreateLogs(b.Context(), settings, config, next)
	require.NoError(b, err)
	host := capturetest.NewHost(b, b.TempDir())
	require.NoError(b, r.Start(b.Context(), host))
	<-done
	require.NoError(b, r.Shutdown(b.Context()))
	require.NoError(b, telemetry.Shutdown(b.Context()))
	require.Equal(b, records, came.Load())
}
