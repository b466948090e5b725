//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// transport is what starts the two goroutines of a connection to the engine.
const transport = "net/http.(*Transport).dialConn"

// observation is all that is looked at in a soak, at one moment.
type observation struct {
	at         time.Duration // since the soak began
	goroutines map[string]int
	fds        map[string]int // "log files", "socket", and others by kind
	// Connections to the engine: as the collector's kernel handles tell, as the proxy between counts them, as the engine holds them.
	ours, proxied, engines int
	heap                   int // bytes in use right after a garbage collection
	rss                    int
	metrics                map[string]float64 // the module's own, by name and labels
	unwell                 map[string]string  // what each component says about itself that is not OK
	lines                  int                // captured so far
}

func total(kinds map[string]int) (n int) {
	for _, k := range kinds {
		n += k
	}
	return n
}

// observer looks at a collector that has a harbour and a fleet to watch.
type observer struct {
	col     *collector
	metrics string // address
	harbour *harbour
	root    string // of the files
	lines   *checked
	began   time.Time

	looking sync.Mutex // one look at a time: two would keep more connections to the collector open than one

	mu     sync.Mutex // guards below
	series []observation
	errs   []error
}

// look takes an observation. While the collector is away, as in a reload, it has an error.
func (o *observer) look() (observation, error) {
	v := observation{at: time.Since(o.began), lines: o.lines.count()}
	if err := o.ask(&v); err != nil {
		return v, err
	}
	kinds, sockets, err := fdKinds(o.col.pid())
	if err != nil {
		return v, err
	}
	v.fds = map[string]int{}
	for kind, n := range kinds {
		switch {
		case strings.HasPrefix(kind, o.root):
			kind = "log files"
		case strings.HasPrefix(kind, "/"):
			kind = "other files"
		}
		v.fds[kind] += n
	}
	if v.ours, err = connections(o.harbour.proxy.socket, sockets); err != nil {
		return v, err
	}
	v.proxied = o.harbour.proxy.count()
	if err := o.harbour.engine.Client().Close(); err != nil { // our own idle connections are not to be counted
		return v, err
	}
	if v.engines, err = accepted(o.harbour.engine.Socket()); err != nil {
		return v, err
	}
	v.rss, _, err = usage(o.col.pid())
	return v, err
}

// ask asks the collector itself.
func (o *observer) ask(v *observation) error {
	health, err := o.col.get("http://" + o.col.health + "/?verbose")
	if health == "" {
		return err // else it is unwell, and tells so in the answer
	}
	if v.unwell, err = unwell(health); err != nil {
		return err
	}
	metrics, err := o.col.get("http://" + o.metrics + "/metrics")
	if err != nil {
		return err
	}
	v.metrics = ownMetrics(metrics)
	heap, err := o.col.get("http://" + o.col.pprof + "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return err
	}
	m := heapAlloc.FindStringSubmatch(heap)
	if m == nil {
		return fmt.Errorf("no size in the heap profile")
	}
	if v.heap, err = strconv.Atoi(m[1]); err != nil {
		return err
	}
	stacks, err := o.col.get("http://" + o.col.pprof + "/debug/pprof/goroutine?debug=2")
	v.goroutines = goroutineKinds(stacks)
	return err
}

var heapAlloc = regexp.MustCompile(`(?m)^# HeapAlloc = (\d+)$`)

// ownMetrics reads the module's metrics out of Prometheus' text format.
func ownMetrics(text string) map[string]float64 { return metricsOf(text, "otelcol_logcapture_") }

// metricsOf returns the series whose names begin with the prefix, without it.
func metricsOf(text, prefix string) map[string]float64 {
	metrics := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "} ")
		if !ok || !strings.HasPrefix(name, prefix) {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			metrics[strings.TrimPrefix(name, prefix)+"}"] = v
		}
	}
	return metrics
}

// sum adds up the series of a metric that have the text in their labels.
func (v observation) sum(name, labels string) (sum float64) {
	for key, value := range v.metrics {
		if strings.HasPrefix(key, name+"{") && strings.Contains(key, labels) {
			sum += value
		}
	}
	return sum
}

// health is the answer of the health check extension.
type health struct {
	Status     string            `json:"status"`
	Error      string            `json:"error"`
	Components map[string]health `json:"components"`
}

func unwell(answer string) (map[string]string, error) {
	var all health
	if err := json.Unmarshal([]byte(answer), &all); err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	found := map[string]string{}
	for _, part := range all.Components {
		for name, c := range part.Components {
			if c.Status != "StatusOK" {
				found[name] = c.Status + ": " + c.Error
			}
		}
	}
	return found, nil
}

// accepted counts the connections that the server at a socket holds, whoever is at the other end.
func accepted(path string) (int, error) {
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		// Num RefCount Protocol Flags Type St Inode Path; type 1 is a stream, state 3 is connected.
		if f := strings.Fields(line); len(f) == 8 && f[7] == path && f[4] == "0001" && f[5] == "03" && f[6] != "0" {
			n++
		}
	}
	return n, nil
}

// keep takes an observation for the series.
func (o *observer) keep() (observation, error) {
	o.looking.Lock()
	defer o.looking.Unlock()
	v, err := o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.errs = append(o.errs, fmt.Errorf("after %v: %w", v.at, err))
		return v, err
	}
	o.series = append(o.series, v)
	return v, nil
}

// watch keeps observations until stop is closed.
func (o *observer) watch(every time.Duration, stop <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			_, _ = o.keep() // an error is kept too
		}
	}
}

// settledGauges are what has to come back to the same value. Those that depend on the moment, as bytes in flight, are left out.
var settledGauges = []string{"containers_followed{", "container_modes{", "files_watched{", "discovery_mode{", "tasks{"}

// away lists where v is not what it was in the reference; containers is how many are followed. A connection that is idle between
// two requests, and its two goroutines, may be there or not: it is one, whatever happened.
func (v observation) away(from observation, containers int) string {
	var b strings.Builder
	if from.goroutines == nil {
		return "no observation yet"
	}
	streams := containers
	if soakReadFrom() == "files" {
		streams = 0
	}
	if v.ours < streams+1 || v.ours > streams+2 || v.proxied != v.ours || v.engines != v.ours {
		fmt.Fprintf(&b, "\nconnections: %d as the collector holds them, %d as passed on, %d as the engine holds them, for %d containers",
			v.ours, v.proxied, v.engines, containers)
	}
	then, now := maps.Clone(from.goroutines), maps.Clone(v.goroutines)
	then[transport], now[transport] = 0, now[transport]-2*v.ours
	differences(&b, "goroutines", now, then)
	then, now = maps.Clone(from.fds), maps.Clone(v.fds)
	then["socket"] -= from.ours
	now["socket"] -= v.ours
	// Which files are open beside those that are read just now changes all the time; how many has a limit.
	delete(then, "log files")
	delete(now, "log files")
	differences(&b, "file descriptors", now, then)
	for _, metrics := range [][2]map[string]float64{{v.metrics, from.metrics}, {from.metrics, v.metrics}} {
		for key, value := range metrics[0] {
			gauge := slices.ContainsFunc(settledGauges, func(name string) bool { return strings.HasPrefix(key, name) })
			if gauge && value != metrics[1][key] {
				fmt.Fprintf(&b, "\n%s is %v and was %v", key, v.metrics[key], from.metrics[key])
			}
		}
	}
	for name, status := range v.unwell {
		fmt.Fprintf(&b, "\n%s: %s", name, status)
	}
	return b.String()
}

func differences(b *strings.Builder, what string, now, then map[string]int) {
	for kind := range then {
		now[kind] += 0
	}
	for _, kind := range slices.Sorted(maps.Keys(now)) {
		if d := now[kind] - then[kind]; d != 0 {
			fmt.Fprintf(b, "\n%+d %s: %s", d, what, kind)
		}
	}
}
