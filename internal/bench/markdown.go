package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// markdown is the report as tables.
func (r *report) markdown(peers map[string]peer) string {
	var b strings.Builder
	b.WriteString("# Side by side\n\n")
	for _, line := range r.Head {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	r.throughput(&b)
	r.idle(&b)
	r.live(&b)
	r.pins(&b)
	if len(r.Notes) > 0 {
		b.WriteString("\n## Notes\n\n")
		for _, note := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(note, "\n", " "))
		}
	}
	b.WriteString("\n## Peers and settings\n\n")
	for _, name := range slices.Sorted(maps.Keys(peers)) {
		fmt.Fprintf(&b, "- `%s`: %s\n", name, peers[name].about)
	}
	if len(r.Attributes) > 0 {
		b.WriteString("\nWhat a record had when it came to the sink:\n\n")
		for _, line := range r.Attributes {
			fmt.Fprintf(&b, "- %s\n", line)
		}
	}
	fmt.Fprintf(&b, "\n```yaml\n%s```\n", strings.Join(r.settings, ""))
	return b.String()
}

func (r *report) throughput(b *strings.Builder) {
	if len(r.Throughput) == 0 {
		return
	}
	b.WriteString("\n## Files read as fast as possible\n\n" +
		"CPU is of the collector's process, from when the files appear until the last record is handed on. " +
		"×: records per CPU second against file_log (pooled: against that pooled too); ÷ floor: CPU against the floor with the attribute on the same side.\n\n" +
		"| shape | peer | records per CPU second | × file_log | ÷ floor | MB/s | allocations per record | peak RSS, MB |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, m := range r.Throughput {
		for _, name := range m.Shape.peers {
			rounds := m.Results[name]
			if len(rounds) == 0 {
				continue
			}
			against, floor := "", ""
			if contrib := m.Results[contribOf(name)]; name != contribOf(name) && len(contrib) > 0 {
				against = fmt.Sprintf("%.1f", ratio(rounds, contrib, figures.perCPUSecond))
			}
			if least := m.Results[floorOf(name)]; strings.HasPrefix(name, fileTail) && !pools(name) && len(least) > 0 {
				floor = fmt.Sprintf("%.2f", 1/ratio(rounds, least, figures.perCPUSecond))
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.0f | %.2f | %.0f |\n", m.Shape.title, name,
				thousands(median(rounds, figures.perCPUSecond)), against, floor, median(rounds, figures.megabytes),
				median(rounds, figures.allocations), median(rounds, func(f figures) float64 { return float64(f.PeakRSS) / 1e6 }))
		}
	}
}

// pools says that a peer uses records again, which the floor does not.
func pools(peer string) bool { return strings.HasSuffix(peer, pooled) }

// contribOf is contrib's receiver in the same collector.
func contribOf(peer string) string {
	if pools(peer) {
		return fileLog + pooled
	}
	return fileLog
}

// floorOf is the floor that a peer is judged against.
func floorOf(peer string) string {
	if strings.HasSuffix(peer, "resource") {
		return floorResource
	}
	return floorRecord
}

func (r *report) idle(b *strings.Builder) {
	if len(r.Idle) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Files that do not grow\n\nAbove a collector without a file (%.2f %% of a core, %d MB).\n\n"+
		"| files | peer | share of a core | waited for one | RSS, MB |\n|---:|---|---:|---:|---:|\n", 100*r.Base.Share, r.Base.RSS/1e6)
	for _, i := range r.Idle {
		fmt.Fprintf(b, "| %s | %s | %.2f %% | %.1f %% | %.1f |\n", thousands(float64(i.Files)), i.Peer, 100*i.Share, 100*i.Waited, float64(i.RSS)/1e6)
	}
}

func (r *report) live(b *strings.Builder) {
	if len(r.Live) == 0 {
		return
	}
	b.WriteString("\n## Files that grow\n\nFrom the append of a line of 200 B to the OTLP server (uncompressed, no queue).\n\n" +
		"| shape | peer | share of a core | waited for one | p50 | p99 | hot file p50 | p99 | lines not there 10 s later | peak RSS, MB |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	titles := make(map[string]string)
	for _, s := range streams() {
		titles[s.name] = s.title
	}
	for _, f := range r.Live {
		hot50, hot99 := "", ""
		if f.HotP99 > 0 {
			hot50, hot99 = milliseconds(f.HotP50), milliseconds(f.HotP99)
		}
		fmt.Fprintf(b, "| %s | %s | %.1f %% | %.1f %% | %s | %s | %s | %s | %d | %d |\n", titles[f.Shape], f.Peer, 100*f.Share, 100*f.Waited,
			milliseconds(f.P50), milliseconds(f.P99), hot50, hot99, f.Missing, f.PeakRSS/1e6)
	}
}

func (r *report) pins(b *strings.Builder) {
	if len(r.Pins) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## What a kept record holds\n\nA filter keeps 1 of %d records of 200 B for a queue that nobody empties; after a garbage collection.\n\n"+
		"| peer | kept records | heap per kept record, bytes | RSS above the start, MB |\n|---|---:|---:|---:|\n", keepOne)
	for _, p := range r.Pins {
		fmt.Fprintf(b, "| %s | %s | %.0f | %.0f |\n", p.Peer, thousands(float64(p.Kept)), p.PerRecord, float64(p.RSS)/1e6)
	}
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64) + " ms"
}

// thousands writes a number with separators, three digits of it.
func thousands(n float64) string {
	unit := 1.0
	for n/unit >= 1000 {
		unit *= 10
	}
	text := strconv.FormatInt(int64(n/unit+0.5)*int64(unit), 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
