package containerlogreceiver

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// delays is a pipeline that notes how long after they were written the lines of some containers come.
type delays struct {
	name string // in the names of the containers

	mu    sync.Mutex
	quiet []time.Duration
	since time.Time // lines that were written before do not count
	busy  int       // lines of all others
}

func (*delays) Capabilities() consumer.Capabilities { return consumer.Capabilities{} }

func (d *delays) ConsumeLogs(_ context.Context, logs plog.Logs) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rl := range logs.ResourceLogs().All() {
		name, _ := rl.Resource().Attributes().Get("container.name")
		for _, sl := range rl.ScopeLogs().All() {
			if !strings.Contains(name.Str(), d.name) {
				d.busy += sl.LogRecords().Len()
				continue
			}
			for _, record := range sl.LogRecords().All() {
				if at := record.Timestamp().AsTime(); !d.since.IsZero() && at.After(d.since) {
					d.quiet = append(d.quiet, now.Sub(at))
				}
			}
		}
	}
	return nil
}

// begin forgets what came until now.
func (d *delays) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quiet, d.busy, d.since = nil, 0, time.Now()
}

// Row 56: containers that write a line in a second do not wait for those that write thousands. LOGCAPTURE_FAIRNESS=1 is as large as the row:
// 300 quiet ones, 5 with 20,000 lines in a second each, for half a minute, and no quiet line may take a second but one in a hundred.
func TestQuietContainersDoNotWaitForBusyOnes(t *testing.T) {
	inBothModes(t, testQuietContainersDoNotWaitForBusyOnes)
}

func testQuietContainersDoNotWaitForBusyOnes(t *testing.T) {
	quiet, busy, perSecond, length, limit := 10, 2, 2000.0, 4*time.Second, 5*time.Second // others use the machine too
	if os.Getenv("LOGCAPTURE_FAIRNESS") != "" {
		quiet, busy, perSecond, length, limit = 300, 5, 20_000, 30*time.Second, time.Second
	}
	d := &delays{name: "-quiet-"}
	r := newRig(t, nil)
	r.next = d
	r.start()
	awaitUp(r)
	bounded := map[string]string{"max-size": "10m", "max-file": "3"}
	for range quiet {
		dockertest.Run(t, dockertest.Spec{
			Name: dockertest.Unique(prefixFor(t) + d.name), LogDriver: "json-file", LogOpts: bounded,
			Steps: []script.Step{script.Lines{PerSecond: 1, Length: 200}},
		})
	}
	for range busy {
		dockertest.Run(t, dockertest.Spec{
			Name: name(t), LogDriver: "json-file", LogOpts: bounded, Steps: []script.Step{script.Lines{PerSecond: perSecond, Length: 200}},
		})
	}
	waitFor(t, "all streams", func() bool { return r.metric("logcapture_containers_followed") == int64(quiet+busy) })
	d.begin()
	time.Sleep(length)
	waitFor(t, "lines of the quiet ones", func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.quiet) >= quiet
	})
	r.stop()
	slices.Sort(d.quiet)
	p99 := d.quiet[len(d.quiet)*99/100]
	t.Logf("%d quiet containers, %d lines: p50 %v, p99 %v, most %v; %d lines of %d busy ones; this process %s",
		quiet, len(d.quiet), d.quiet[len(d.quiet)/2], p99, d.quiet[len(d.quiet)-1], d.busy, busy, resident(t))
	require.Less(t, p99, limit)
	require.Positive(t, d.busy)
}

// resident returns the resident memory of this process at its peak.
func resident(t *testing.T) string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "of unknown size"
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			return fmt.Sprint("had at most ", strings.Join(strings.Fields(line)[1:], " "), " resident")
		}
	}
	t.Fatal("no VmHWM")
	return ""
}
