package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.yaml.in/yaml/v3"
)

// report is everything that was measured.
type report struct {
	Head       []string
	Throughput []measured
	Base       resting
	Idle       []resting
	Live       []flow
	Pins       []pinned
	Notes      []string
	Attributes []string // what records had when they came to the sink
	settings   []string // YAML of the receivers, and of what is behind them
}

// measured is a shape and what each round showed, by peer.
type measured struct {
	Shape   shape `json:"-"`
	Results map[string][]figures
}

func (m measured) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"Shape": m.Shape.name, "Results": m.Results})
}

func (r *report) head(s settings, kind string) {
	r.Head = []string{
		fmt.Sprintf("%s, %d cores of %s, %s, %s", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), processor(), kernel(), runtime.Version()),
		fmt.Sprintf("revision %s; data on %s, %s per shape, up to %d times that where it is read fast; %d rounds, peers in turn, medians; live and idle: watched for %v, once",
			revision(), kind, size(s.size), mostTimes, s.runs, s.seconds),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "go.opentelemetry.io/collector/pdata" {
				r.Head = append(r.Head, "pdata "+module.Version+", contrib file_log v0.160.0, one binary for all receivers")
			}
		}
	}
}

func processor() string {
	content, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(content)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	content, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(content))
}

func revision() string {
	output, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

func size(bytes int64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

// seen keeps what the records of a peer had, so that a reader sees whether all did the same work.
func (b *bench) seen(s shape, p peer, from *sink) error {
	request := plogotlp.NewExportRequest()
	if err := request.UnmarshalProto(from.first); err != nil {
		return err
	}
	rl := request.Logs().ResourceLogs().At(0)
	record := rl.ScopeLogs().At(0).LogRecords().At(0)
	line := fmt.Sprintf("%s, %s: record %s; resource %s; timestamp %t; body of %d bytes", cmp.Or(s.data.format, "plain"), p.name,
		names(record.Attributes()), names(rl.Resource().Attributes()), record.Timestamp() != 0, len(record.Body().Str()))
	if !slices.Contains(b.report.Attributes, line) {
		b.report.Attributes = append(b.report.Attributes, line)
	}
	return nil
}

func names(attributes pcommon.Map) string {
	var all []string
	for name := range attributes.All() {
		all = append(all, "`"+name+"`")
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, " "), "none")
}

// state keeps the settings of a peer for a format, once.
func (b *bench) state(s shape, p peer, c *collector) {
	stated := map[string]any{"receivers": c.config["receivers"]}
	if processors, has := c.config["processors"]; has {
		stated["processors"] = processors
	}
	content, err := yaml.Marshal(stated)
	if err != nil {
		return
	}
	text := strings.ReplaceAll(string(content), c.dir, "")
	text = fmt.Sprintf("# %s, %s\n%s", p.name, cmp.Or(s.data.format, "raw"), text)
	if !slices.Contains(b.report.settings, text) {
		b.report.settings = append(b.report.settings, text)
	}
}

func (r *report) raw(name string) error {
	content, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o644)
}

// median of a figure over the rounds of a peer.
func median(rounds []figures, of func(figures) float64) float64 {
	values := make([]float64, 0, len(rounds))
	for _, f := range rounds {
		values = append(values, of(f))
	}
	return middle(values)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	switch {
	case n == 0:
		return 0
	case n%2 == 0:
		return (values[n/2-1] + values[n/2]) / 2
	default:
		return values[n/2]
	}
}

// ratio is the median of the ratios of each round: what disturbs the machine for a while disturbs both.
func ratio(a, b []figures, of func(figures) float64) float64 {
	var values []float64
	for i := range min(len(a), len(b)) {
		values = append(values, of(a[i])/of(b[i]))
	}
	return middle(values)
}
