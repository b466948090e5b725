//go:build unix

package filetail

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// BenchmarkRead is the whole way of a line of about 200 bytes: read from the page cache, split, parsed, and made a plog that a consumer takes.
// An operation is one line.
func BenchmarkRead(b *testing.B) {
	text := strings.Repeat("x", 150)
	short := strings.Repeat("x", 199)
	for _, bb := range []struct {
		name string
		line string
		text Text
	}{
		{"raw", short + "\n", Text{}},
		{"raw, 100 KiB", strings.Repeat("x", 100<<10) + "\n", Text{}},
		{"raw, trimmed", short + "\n", Text{TrimLeading: true, TrimTrailing: true, SkipEmpty: true}},
		{"not all UTF-8", short[1:] + "\xff\n", Text{}},
		{"utf-16", encoded(b, "utf-16le", short[:99]+"\n"), Text{Encoding: encoding(b, "utf-16le")}},
		{"cri", cri("stdout", "F", text), Text{Format: lineformat.CRI}},
		{"cri, pieces", cri("stdout", "P", text) + cri("stdout", "F", text), Text{Format: lineformat.CRI}},
		{"docker", `{"log":"` + text + `\n","stream":"stdout","time":"` + testStamp + `"}` + "\n", Text{Format: lineformat.Docker}},
		{"auto", cri("stdout", "F", text), Text{Format: lineformat.Auto}},
		{"multiline", "2023-06-22 " + short[:188] + "\n" + short + "\n" + short + "\n", Text{Multiline: multiline(b, `^\d{4}-`, true, false)}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "a.log")
			const size = 16 << 20
			lines := size / len(bb.line) * max(1, strings.Count(bb.line, "\n"))
			require.NoError(b, os.WriteFile(path, []byte(strings.Repeat(bb.line, size/len(bb.line))), 0o600))
			settings := receivertest.NewNopSettings(receivertest.NopType)
			settings.ID = component.NewID(receivertest.NopType)
			c, err := capture.Start(b.Context(), componenttest.NewNopHost(), capture.NewConfig(), capture.Settings{
				Receiver: settings, Next: consumertest.NewNop(), Scope: "bench", Format: "file", Transport: "file", PositionFormat: PositionFormat,
			})
			require.NoError(b, err)
			defer func() { require.NoError(b, c.Shutdown(b.Context())) }()
			e := New(c, Settings{Include: []string{path}, MaxLogSize: 1 << 20, Text: bb.text, FileAttributes: FileAttributes{Name: true}})
			require.NoError(b, e.prepare())
			handle, err := os.Open(path)
			require.NoError(b, err)
			defer handle.Close()
			info, err := handle.Stat()
			require.NoError(b, err)
			r := newReader(e)
			b.SetBytes(info.Size() / int64(lines))
			b.ReportAllocs()
			b.ResetTimer()
			began, all := cpu(b), 0
			for done := 0; done < b.N; done += lines {
				f := &file{name: path, path: path, handle: handle}
				f.source = e.sourceOf(f, info)
				for more := true; more; {
					more = r.read(f)
					if e.deliver(b.Context(), r) != nil {
						b.Fatal("not delivered")
					}
					r.reset()
				}
				require.Equal(b, info.Size(), f.place.offset)
				all += lines
			}
			b.ReportMetric(float64((cpu(b)-began).Nanoseconds())/float64(all), "cpu-ns/line")
		})
	}
}

// cpu is the time that this process has had on all cores: what a benchmark says where others run beside it.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
