//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// harbour is an engine with containers that write for ever, and a proxy before it.
type harbour struct {
	t      *testing.T
	engine *dockertest.Engine
	proxy  *proxy
	lines  *checked
	always []*dockertest.Container // those that stay
	rate   float64                 // lines per second of each stream of each of them
}

func newHarbour(t *testing.T, lines *checked, rate float64) *harbour {
	t.Helper()
	h := &harbour{t: t, lines: lines, rate: rate}
	h.engine = ownEngine(t, dockertest.EngineSettings{LiveRestore: true})
	h.proxy = newProxy(t, h.engine.Socket())
	return h
}

// run starts containers that go on with their numbers when they are restarted.
func (h *harbour) run(n int) {
	h.t.Helper()
	for range n {
		h.always = append(h.always, dockertest.Run(h.t, dockertest.Spec{
			Name: fmt.Sprintf("soak-%d", len(h.always)), Client: h.engine.Client(),
			Steps: []script.Step{
				script.Lines{Stream: script.Both, PerSecond: h.rate, Length: 60, Resume: true}, script.Wait{Signal: "TERM"},
			},
		}))
	}
}

// got returns how many lines of the containers have come.
func (h *harbour) got(containers []*dockertest.Container) int {
	h.lines.mu.Lock()
	defer h.lines.mu.Unlock()
	n := 0
	for _, c := range containers {
		n += h.lines.of(c.Name+"/"+script.Stdout).got + h.lines.of(c.Name+"/"+script.Stderr).got
	}
	return n
}

// flows waits until each of the containers has got through with new lines.
func (h *harbour) flows(containers []*dockertest.Container) {
	h.t.Helper()
	for _, c := range containers {
		one := []*dockertest.Container{c}
		before := h.got(one)
		eventually(h.t, completionLimit, "new lines of "+c.Name, func() string {
			if h.got(one) <= before {
				return "none"
			}
			return ""
		})
	}
}

// restart restarts some containers, the first of them twice in a row.
func (h *harbour) restart(round, n int) {
	h.t.Helper()
	var some []*dockertest.Container
	for i := range n {
		some = append(some, h.always[(round*n+i)%len(h.always)])
	}
	h.flows(some) // before it writes, process 1 is deaf for SIGTERM
	some[0].Restart(1)
	for _, c := range some {
		c.Restart(1)
	}
	h.flows(some)
}

// visit runs containers that are gone again: removed by force, and by themselves.
func (h *harbour) visit(round, n int) {
	h.t.Helper()
	const count = 20
	var some []*dockertest.Container
	for i := range n {
		spec := dockertest.Spec{
			Name: fmt.Sprintf("visit-%d-%d", round, i), Client: h.engine.Client(), AutoRemove: i%2 == 1,
			Steps: []script.Step{script.Lines{Stream: script.Both, Count: count}, script.Wait{Signal: "TERM"}},
		}
		some = append(some, dockertest.Run(h.t, spec))
		h.lines.expectContainer(spec.Name, count)
	}
	for i, c := range some {
		one := []*dockertest.Container{c}
		eventually(h.t, completionLimit, "lines of "+c.Name, func() string {
			if got := h.got(one); got < 2*count {
				return fmt.Sprintf("%d of %d", got, 2*count)
			}
			return ""
		})
		if i%2 == 1 {
			c.Signal("TERM") // removed by the engine
		} else {
			c.Remove()
		}
	}
}

// freeze stops the engine's process for the time that wait takes.
func (h *harbour) freeze(wait func()) {
	h.t.Helper()
	pid := h.engine.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	wait()
}

// numbers returns how often the engine's own log has each number of a container, by stream. After the engine was killed that is
// the truth, and not what the container has written. A number may be there twice: when the container was killed between writing
// it and noting that.
func (h *harbour) numbers(c *dockertest.Container) map[string]map[int]int {
	h.t.Helper()
	times := map[string]map[int]int{script.Stdout: {}, script.Stderr: {}}
	for _, entry := range c.Logs() {
		stream, _, seq, ok := script.ParseLine(entry.Text)
		if !ok || stream != entry.Stream {
			h.t.Errorf("%s: the engine has %.80q on %s", c.Name, entry.Text, entry.Stream)
			continue
		}
		times[stream][seq]++
	}
	return times
}

// compare holds what came of a stream against the engine's log, and takes it out of what the tally has to judge.
func (s *series) compare(name string, times map[int]int) (problems []string) {
	came := map[int]int{}
	for seq := range len(s.seen) * 64 {
		if s.seen[seq/64]&(1<<(seq%64)) != 0 {
			came[seq]++
		}
	}
	for _, seq := range s.repeated {
		came[seq]++
	}
	var lost, more []int
	for seq := range max(len(s.seen)*64, slices.Max(append(slices.Collect(maps.Keys(times)), 0))+1) {
		switch {
		case came[seq] < times[seq]:
			lost = append(lost, seq)
		case came[seq] > times[seq]:
			more = append(more, seq)
		}
	}
	for what, seqs := range map[string][]int{"lost": lost, "too many": more} {
		if len(seqs) > 0 {
			problems = append(problems, fmt.Sprintf("%s: %d %s of %d: %s", name, len(seqs), what, len(times), ranges(seqs)))
		}
	}
	s.repeated, s.want = nil, 0
	clear(s.seen)
	return problems
}

// finish stops the containers, waits for their last lines and holds all of them against the engine's log. It returns how many
// lines they wrote.
func (h *harbour) finish() (written int) {
	h.t.Helper()
	for _, c := range h.always {
		c.Stop(1)
	}
	var problems []string
	for _, c := range h.always {
		times := h.numbers(c)
		want := len(times[script.Stdout]) + len(times[script.Stderr])
		eventually(h.t, completionLimit, "last lines of "+c.Name, func() string {
			if got := h.got([]*dockertest.Container{c}); got < want {
				return fmt.Sprintf("%d of %d", got, want)
			}
			return ""
		})
		h.lines.mu.Lock()
		for stream, times := range times {
			for _, n := range times {
				written += n
			}
			problems = append(problems, h.lines.of(c.Name+"/"+stream).compare(c.Name+"/"+stream, times)...)
		}
		h.lines.mu.Unlock()
	}
	if len(problems) > 0 {
		h.t.Errorf("lines of containers are not as in the engine's log:\n%s", strings.Join(problems[:min(len(problems), 30)], "\n"))
	}
	return written
}

// leave removes all containers.
func (h *harbour) leave() {
	h.t.Helper()
	for _, c := range h.always {
		c.Remove()
	}
}
