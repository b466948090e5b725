package containerlogreceiver

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// proxy stands between the receiver and an engine. It can cut connections, and keep them open without passing anything on.
type proxy struct {
	listener net.Listener
	tasks    sync.WaitGroup

	mu     sync.Mutex
	target string
	held   bool // no new connections are made
	conns  []net.Conn
	frozen map[net.Conn]bool // what comes for these clients is lost
}

func newProxy(t *testing.T, target string) *proxy {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "p.sock"))
	require.NoError(t, err)
	return newProxyOn(t, listener, target)
}

func newProxyOn(t *testing.T, listener net.Listener, target string) *proxy {
	p := &proxy{listener: listener, target: strings.TrimPrefix(target, "unix://")}
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, held := p.target, p.held
		p.mu.Unlock()
		engine, err := net.Dial("unix", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		if held {
			_, _ = client.Close(), engine.Close()
			continue
		}
		frozen := make(chan struct{})
		p.mu.Lock()
		p.conns = append(p.conns, client, engine)
		p.mu.Unlock()
		p.tasks.Go(func() {
			_, _ = io.Copy(engine, client)
			_ = engine.Close()
			close(frozen)
		})
		p.tasks.Go(func() {
			p.answers(client, engine, frozen)
			_ = client.Close()
		})
	}
}

// answers passes on what the engine says until it ends, or until the connection is frozen.
func (p *proxy) answers(client, engine net.Conn, closed chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := engine.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		lost := p.frozen[client]
		p.mu.Unlock()
		if lost {
			<-closed
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections in the middle of what they are doing.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// hold ends all connections and lets no new ones through until release.
func (p *proxy) hold() {
	p.mu.Lock()
	p.held = true
	p.mu.Unlock()
	p.cut()
}

// lead ends all connections and leads new ones to another engine.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	p.target = strings.TrimPrefix(target, "unix://")
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
}

// freeze lets the connections that are open now give nothing more; new ones pass.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = make(map[net.Conn]bool)
	for _, c := range p.conns {
		p.frozen[c] = true
	}
}

// Row 46, faster: connections are cut all the time.
func TestProxyThatCutsConnections(t *testing.T) {
	t.Parallel()
	p := newProxy(t, dockertest.Client(t).DaemonHost())
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names = "unix://"+p.listener.Addr().String(), []string{prefixFor(t) + "-*"}
	})
	r.start()
	awaitUp(r)
	var all []*dockertest.Container
	for range 2 {
		all = append(all, dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
			script.Lines{Stream: script.Both, Count: 5000, PerSecond: 1000}, raw("", strings.Repeat("long", 20_000), "\n"), script.Wait{},
		}}))
	}
	quiet := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 3}, script.Wait{}}})
	for len(r.records(all[1].ID)) < 10_001 {
		time.Sleep(300 * time.Millisecond)
		p.cut()
	}
	for _, c := range append(all, quiet) {
		r.requireExact(c)
	}
	require.Zero(t, r.metric("logcapture_gaps"))
	waitFor(t, "the status", func() bool { return r.host.Last().Status() != componentstatus.StatusRecoverableError })
	r.stop()
}

// What happens between two connections is told after it: a container that came and went, and the runs of one that is still there.
func TestEventsBetweenConnectionsAreNotLost(t *testing.T) {
	t.Parallel()
	inBothModes(t, testEventsBetweenConnectionsAreNotLost)
}

func testEventsBetweenConnectionsAreNotLost(t *testing.T) {
	t.Parallel()
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{}) // of the one at hand other tests may drive out the events that it keeps
	engine.Start()
	p := newProxy(t, engine.Host())
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names = "unix://"+p.listener.Addr().String(), []string{prefixFor(t) + "-*"}
		c.LifecycleRecords, c.ResyncInterval = true, time.Hour
	})
	r.start()
	awaitUp(r)
	stays := dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Name: name(t), Steps: []script.Step{script.Lines{Count: 3}, script.Wait{Signal: "TERM"}}})
	r.awaitLines(stays.ID, 4)
	p.hold()
	goes := dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Name: name(t), AutoRemove: true, Steps: []script.Step{script.Lines{Count: 3}}})
	waitFor(t, "its removal", func() bool {
		_, err := engine.Client().ContainerInspect(t.Context(), goes.ID)
		return errdefs.IsNotFound(err)
	})
	stays.Restart(10)
	waitFor(t, "the second run", func() bool { return len(stays.Logs()) == 6 })
	p.release()

	events := func(id string) (names []string) {
		for _, record := range r.records(id) {
			if name := record.Log.EventName(); name != "" {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	is := func(id string, want ...string) func() bool {
		return func() bool { return slices.Equal(events(id), want) }
	}
	waitFor(t, "what the container that went has done", is(goes.ID, "container.die", "container.log.gap", "container.start"))
	waitFor(t, "the runs of the one that stays", is(stays.ID, "container.die", "container.start", "container.start"))
	waitFor(t, "its lines", func() bool { return len(r.records(stays.ID)) == 9 })
	for i := range 3 { // nothing is told again
		p.cut()
		stays.Restart(10)
		waitFor(t, "the lines of the run", func() bool { return len(stays.Logs()) == 9+3*i }) // one that is ended early writes less
		awaitUp(r)
	}
	waitFor(t, "all lines", func() bool { return len(r.records(stays.ID)) >= 9+3*5 })
	require.Len(t, r.records(stays.ID), 9+3*5)
	require.Len(t, events(stays.ID), 3+3*2)
	require.Len(t, r.records(goes.ID), 3)
	r.stop()
}

// Row 46 as it is: LOGCAPTURE_PROXY=5m cuts all connections every ten seconds for that long, with 20 quiet and 5 busy containers, one of which
// has a log of 1 GB. What comes is exact, nothing worse than a warning is said, and to look for the places where to go on costs the engine
// less than a fifth of a processor.
func TestProxyThatCutsConnectionsForLong(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("LOGCAPTURE_PROXY"))
	if err != nil {
		t.Skip("LOGCAPTURE_PROXY is not set to a duration")
	}
	engine := dockertest.NewEngine(t, dockertest.EngineSettings{})
	engine.Start()
	const quiet, busy, perSecond, interval = 20, 5, 200, 10 * time.Second
	run := func(steps ...script.Step) *dockertest.Container {
		return dockertest.Run(t, dockertest.Spec{Client: engine.Client(), Steps: steps})
	}
	lines := script.Lines{PerSecond: perSecond, Count: int(length.Seconds()) * perSecond, Length: 100}
	large := run(script.Raw{Data: []byte(strings.Repeat("x", 8191) + "\n"), Repeat: 1 << 17}, lines, script.Wait{})
	all := []*dockertest.Container{large}
	waitFor(t, "a log of 1 GB", func() bool { info, err := os.Stat(large.Inspect().LogPath); return err == nil && info.Size() > 1<<30 })
	p := newProxy(t, engine.Host())
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.StartAt = "unix://"+p.listener.Addr().String(), time.Millisecond.String()
	})
	r.start()
	awaitUp(r)
	for range busy - 1 {
		all = append(all, run(lines, script.Wait{}))
	}
	for range quiet {
		all = append(all, run(script.Lines{Count: 3}, script.Wait{}))
	}
	waitFor(t, "all streams", func() bool { return r.metric("logcapture_containers_followed") == quiet+busy })
	r.awaitLines(large.ID, 1) // it was sought in all of the log, once
	before, began := processorTime(t, engine.PID()), time.Now()
	for time.Since(began) < length {
		time.Sleep(interval)
		p.cut()
	}
	used := processorTime(t, engine.PID()) - before
	t.Logf("%d resumes; the engine took %v of a processor's time in %v", r.metric("logcapture_resumes"), used, time.Since(began).Round(time.Second))
	for _, c := range all[1:] {
		r.requireExact(c)
	}
	requireRest(t, r, large)
	require.Zero(t, r.metric("logcapture_gaps"))
	require.Zero(t, r.logs.FilterLevelExact(zap.ErrorLevel).Len())
	require.Less(t, used, length/5)
	r.stop()
}

// requireRest is requireExact for the numbered lines of a log that was not read from its beginning.
func requireRest(t *testing.T, r *rig, c *dockertest.Container) {
	t.Helper()
	next := 0
	for _, record := range r.records(c.ID) {
		_, _, n, ok := script.ParseLine(record.Body)
		if !ok {
			continue
		}
		require.True(t, next == 0 || n == next, "line %d, want %d", n, next)
		next = n + 1
	}
	require.Positive(t, next)
}

// processorTime returns what a process has used of all processors.
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	user, err := strconv.Atoi(fields[11])
	require.NoError(t, err)
	system, err := strconv.Atoi(fields[12])
	require.NoError(t, err)
	const tick = time.Second / 100
	return time.Duration(user+system) * tick
}

// Row 48: connections that are open and give nothing.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel()
	p := newProxy(t, dockertest.Client(t).DaemonHost())
	r := newRig(t, func(c *Config) {
		c.Endpoint, c.Include.Names = "unix://"+p.listener.Addr().String(), []string{prefixFor(t) + "-*"}
		c.IdleCheckInterval = 500 * time.Millisecond
	})
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Count: 1000, PerSecond: 5000}, script.Wait{},
	}})
	r.start()
	r.awaitLines(c.ID, 10)
	p.freeze()
	c.Signal("USR1")
	r.awaitLines(c.ID, 1010)
	r.requireExact(c)
	r.stop()
}
