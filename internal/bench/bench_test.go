package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDataIsAsManyDifferentLinesAsItSays(t *testing.T) {
	for _, d := range []data{
		{files: 3, line: 200}, {format: formatCRI, files: 1, line: 200}, {format: formatDocker, files: 1, line: 1 << 10, mark: 10}, {format: formatJSON, files: 1, line: 200},
	} {
		dir := t.TempDir()
		if err := d.write(dir, 100_000); err != nil {
			t.Fatal(err)
		}
		names, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil || len(names) != d.files {
			t.Fatalf("%d files: %v", len(names), err)
		}
		var all []byte
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, content...)
		}
		lines := bytes.SplitAfter(all, []byte("\n"))
		lines = lines[:len(lines)-1]
		different := make(map[string]bool)
		for _, line := range lines {
			different[string(line)] = true
			if d.format == formatRaw && len(line) != d.line {
				t.Fatalf("a line of %d bytes, want %d", len(line), d.line)
			}
		}
		if int64(len(lines)) != d.lines || int64(len(all)) != d.bytes || len(different) != len(lines) {
			t.Errorf("%q: %d lines, %d different, %d bytes; said were %d and %d", d.format, len(lines), len(different), len(all), d.lines, d.bytes)
		}
		if d.format == formatDocker && bytes.Count(all, []byte("KEEP")) != (len(lines)+9)/10 {
			t.Errorf("%d of %d lines are marked, want every 10th", bytes.Count(all, []byte("KEEP")), len(lines))
		}
	}
}

func TestTextsOfJSONAreObjectsOfOneSize(t *testing.T) {
	d := data{format: formatJSON, files: 1, line: 200, mark: 3}
	for n := range int64(16) {
		text := d.text(0, n)
		var members map[string]any
		if err := json.Unmarshal([]byte(text), &members); err != nil || len(text) != d.line || len(members) != 5 {
			t.Errorf("%s: %d bytes, %d members: %v", text, len(text), len(members), err)
		}
		if (members["level"] == "KEEP") != (n%3 == 0) {
			t.Errorf("line %d has level %v", n, members["level"])
		}
	}
}

func TestPeersOfAShapeKnowItsFormat(t *testing.T) {
	known := peers()
	for _, s := range shapes() {
		for _, name := range s.peers {
			p := known[name]
			if p.name != name {
				t.Errorf("%s: no peer %q", s.name, name)
			}
			if s.data.format != formatRaw && p.formats[s.data.format] == nil {
				t.Errorf("%s: %s would read lines of %s as they are", s.name, name, s.data.format)
			}
			if s.data.format != formatJSON {
				continue
			}
			config, err := yaml.Marshal(p.pipeline(&s.data, "/", nil).receiver)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(config, []byte("json_parser")) == (p.processors[formatJSON] != nil) {
				t.Errorf("%s: %s has to parse JSON once", s.name, name)
			}
		}
	}
}

func TestFloorMakesARecordOfEachLine(t *testing.T) {
	d := data{files: 2, line: 200}
	dir := t.TempDir()
	if err := d.write(dir, 3*floorBlock); err != nil {
		t.Fatal(err)
	}
	for _, onResource := range []bool{false, true} {
		var f *floor
		for parts := 2; parts > 0; parts-- {
			var count int64
			for part := range parts {
				f = newFloor(onResource)
				if err := f.readAll(dir, part, parts); err != nil {
					t.Fatal(err)
				}
				count += f.count
			}
			if count != d.lines {
				t.Errorf("%d records of %d lines, %d parts", count, d.lines, parts)
			}
		}
		last := f.records.At(f.records.Len() - 1)
		if want := strings.TrimSuffix(d.text(1, d.lines/2-1)[:d.line-1], "\n"); last.Body().Str() != want {
			t.Errorf("the last record is %q, want %q", last.Body().Str(), want)
		}
		if _, on := last.Attributes().Get("log.file.name"); on == onResource {
			t.Errorf("attribute on the record: %t, want %t", on, !onResource)
		}
	}
}

// export sends n records as a collector does.
func export(t *testing.T, s *sink, body string, n int, options ...grpc.CallOption) error {
	t.Helper()
	connection, err := grpc.NewClient(s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	logs := plog.NewLogs()
	records := logs.ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords()
	for range n {
		records.AppendEmpty().Body().SetStr(body)
	}
	_, err = plogotlp.NewGRPCClient(connection).Export(t.Context(), plogotlp.NewExportRequestFromLogs(logs), options...)
	return err
}

func TestSinkCountsAndTimes(t *testing.T) {
	s, err := newSink()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	s.measure(true)
	early := "S " + strconv.FormatInt(time.Now().Add(-time.Minute).UnixNano(), 10)
	if err := errors.Join(export(t, s, early, 3), export(t, s, stamp(classHot)+" x", 2, grpc.UseCompressor(gzip.Name)), export(t, s, "no stamp", 1)); err != nil {
		t.Fatal(err)
	}
	if s.records.Load() != 6 {
		t.Errorf("%d records, want 6", s.records.Load())
	}
	if p50, p99, n := s.quantiles(classSlow); n != 3 || p50 < time.Minute || p99 > 2*time.Minute {
		t.Errorf("%d slow: %v, %v", n, p50, p99)
	}
	if p50, _, n := s.quantiles(classHot); n != 2 || p50 < 0 || p50 > time.Minute {
		t.Errorf("%d hot: %v", n, p50)
	}
}

func TestMediansAndRatiosAreByRound(t *testing.T) {
	rounds := func(cpu ...time.Duration) (all []figures) {
		for _, c := range cpu {
			all = append(all, figures{Records: 1000, CPU: c * time.Second})
		}
		return all
	}
	fast, slow := rounds(1, 2, 10), rounds(4, 8, 20) // the machine was slow in the last round
	if got := median(fast, figures.perCPUSecond); got != 500 {
		t.Errorf("median %v, want 500", got)
	}
	if got := ratio(fast, slow, figures.perCPUSecond); got != 4 {
		t.Errorf("ratio %v, want 4", got)
	}
	for n, want := range map[float64]string{0: "0", 987: "987", 1234: "1,230", 423_456: "423,000", 7_105_000: "7,110,000"} {
		if got := thousands(n); got != want {
			t.Errorf("%v is written %q, want %q", n, got, want)
		}
	}
}

func TestPlotIsXML(t *testing.T) {
	r := report{Throughput: []measured{{shapes()[0], map[string][]figures{
		fileLog: {{Records: 1, CPU: time.Second}}, fileTail: {{Records: 8, CPU: time.Second}},
	}}}}
	plot := r.plot()
	decoder := xml.NewDecoder(strings.NewReader(plot))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(plot, "8.0×") {
		t.Errorf("no ratio in the plot:\n%s", plot)
	}
}

func TestShapesAreChosenByNameOrGroup(t *testing.T) {
	s := settings{shapes: []string{"idle-10", "otlp"}}
	for name, want := range map[string]bool{"idle-10": true, "idle-100": false, "otlp-cri": true, "cri": false} {
		if s.chooses(name) != want {
			t.Errorf("%s: %t, want %t", name, !want, want)
		}
	}
}

func TestCPUOfAProcessGrowsWithItsWork(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	after, err := cpuOf(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%v, then %v: %v", before, after, err)
	}
	if m, err := memoryOf(os.Getpid()); err != nil || m.now < 1<<20 || m.peak < m.now {
		t.Errorf("memory %+v: %v", m, err)
	}
}
