package dockertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// engineTimeout bounds a start or a stop of an Engine.
const engineTimeout = 60 * time.Second

// enginePrefix begins the names of the engines' folders.
const enginePrefix = "lc-engine-"

// EngineSettings says how an Engine of its own is run.
type EngineSettings struct {
	// LiveRestore lets the containers survive the engine.
	LiveRestore bool
	// Args are further arguments of dockerd.
	Args []string
	// Podman runs Podman's service instead of dockerd. It keeps no container alive or dead: each has a process of its own that writes
	// its log, and goes on when the service ends.
	Podman bool
	// Journal gives the engine a journald, for the log driver of that name. Where there is none the test is skipped.
	Journal bool
}

// Engine is a dockerd, or a Podman service, that belongs to one test: it can be stopped, killed and started again without harm to other
// tests. Its socket is there from the first Start on; its data lives until the test ends.
type Engine struct {
	t        testing.TB
	settings EngineSettings
	dir      string
	cmd      *exec.Cmd
	journal  *exec.Cmd // nil: none
	cli      *client.Client
}

// NewEngine prepares an engine and does not start it. It needs root, dockerd and containerd; without them the test is
// skipped, or fails where CI=true.
func NewEngine(t testing.TB, settings EngineSettings) *Engine {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		Unavailable(t, "a second Docker Engine needs Linux and root")
	}
	if _, err := exec.LookPath("podman"); settings.Podman && err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	if _, err := exec.LookPath("dockerd"); !settings.Podman && err != nil {
		Unavailable(t, "a second Docker Engine needs dockerd: %v", err)
	}
	sweep(t)
	// Not t.TempDir: its path is too long for the sockets below it.
	dir, err := os.MkdirTemp("", enginePrefix)
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{t: t, settings: settings, dir: dir}
	t.Cleanup(e.remove)
	if settings.Journal {
		e.needJournal()
	}
	if err := os.WriteFile(e.path("owner"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(e.path("daemon.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	e.cli = newClient(t, client.WithHost(e.Host()))
	return e
}

// sweep takes away the engines of test processes that were killed, which could not do it themselves.
func sweep(t testing.TB) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), enginePrefix+"*"))
	for _, dir := range dirs {
		owner, err := os.ReadFile(filepath.Join(dir, "owner"))
		if err != nil {
			continue // just being made, or taken away
		}
		if _, err := os.Stat("/proc/" + string(owner)); errors.Is(err, fs.ErrNotExist) && len(owner) > 0 {
			(&Engine{t: t, dir: dir}).remove()
		}
	}
}

// Host is the engine's address: unix://….
func (e *Engine) Host() string { return "unix://" + e.Socket() }

// Socket is the path in Host.
func (e *Engine) Socket() string { return e.path("docker.sock") }

// Client returns a client of this engine, closed when the test ends.
func (e *Engine) Client() *client.Client { return e.cli }

// PID is the process id of the running engine.
func (e *Engine) PID() int { return e.cmd.Process.Pid }

func (e *Engine) path(name string) string { return filepath.Join(e.dir, name) }

// Start starts the engine and waits until it answers.
func (e *Engine) Start() {
	e.t.Helper()
	e.Launch()
	deadline := time.Now().Add(engineTimeout)
	for {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.t.Context()), time.Second)
		_, err := e.cli.Ping(ctx)
		cancel()
		if err == nil {
			return
		}
		if ended(e.PID()) || time.Now().After(deadline) {
			e.t.Fatalf("the engine does not answer: %v\n%s", err, e.logTail())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Launch starts the engine and does not wait for it.
func (e *Engine) Launch() {
	e.t.Helper()
	log, err := os.OpenFile(e.path("dockerd.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close()
	if e.settings.Journal {
		e.startJournal()
	}
	e.cmd = e.dockerd()
	if e.settings.Podman {
		e.cmd = e.podman()
	}
	if e.settings.Journal {
		e.cmd = e.withJournal(e.cmd)
	}
	e.cmd.Stdout, e.cmd.Stderr = log, log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatalf("start the engine: %v", err)
	}
}

func (e *Engine) dockerd() *exec.Cmd {
	namespace := filepath.Base(e.dir) // apart from others where the machine has one containerd for all
	args := []string{
		"--config-file", e.path("daemon.json"), "--data-root", e.path("data"), "--exec-root", e.path("exec"),
		"--pidfile", e.path("pid"), "--host", e.Host(), "--storage-driver", "vfs", "--bridge", "none", "--iptables=false",
		"--containerd-namespace", namespace, "--containerd-plugins-namespace", namespace + "-plugins",
		"--live-restore=" + strconv.FormatBool(e.settings.LiveRestore),
	}
	return exec.Command("dockerd", append(args, e.settings.Args...)...)
}

func (e *Engine) podman() *exec.Cmd {
	// Its default limits may be more than the machine allows. The names of runtimes are tried in the order of their liking.
	runtime := "runc"
	if _, err := exec.LookPath("crun"); err == nil {
		runtime = "crun"
	}
	events := "file"
	if e.settings.Journal {
		events = "journald" // without it, Podman cannot follow a log in the journal
	}
	conf := fmt.Sprintf(`[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = %q
runtime = %q
`, events, runtime)
	if err := os.WriteFile(e.path("containers.conf"), []byte(conf), 0o600); err != nil {
		e.t.Fatal(err)
	}
	cmd := exec.Command("podman", "--root", e.path("data"), "--runroot", e.path("run"), "--tmpdir", e.path("tmp"), "--storage-driver", "vfs",
		"system", "service", "--time", "0", e.Host())
	cmd.Env = append(os.Environ(), "CONTAINERS_CONF="+e.path("containers.conf"))
	return cmd
}

// Stop ends the engine with SIGTERM, as a service does, and waits for it.
func (e *Engine) Stop() {
	e.t.Helper()
	e.end(syscall.SIGTERM)
}

// Kill ends the engine with SIGKILL and waits until it and its containerd are gone: before that a new start fails.
func (e *Engine) Kill() {
	e.t.Helper()
	e.end(syscall.SIGKILL)
}

func (e *Engine) end(sig syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(sig); err != nil {
		e.t.Fatalf("signal the engine: %v", err)
	}
	e.await("the end of the engine", func() bool { return ended(e.PID()) })
	_ = e.cmd.Wait()
	e.await("the end of its containerd", func() bool {
		pid, err := os.ReadFile(e.path("exec/containerd/containerd.pid"))
		if err != nil {
			return true // none of its own
		}
		_, err = os.Stat("/proc/" + strings.TrimSpace(string(pid)))
		return err != nil
	})
}

func (e *Engine) await(what string, condition func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(engineTimeout)
	for !condition() {
		if time.Now().After(deadline) {
			e.t.Fatalf("not within %v: %s\n%s", engineTimeout, what, e.logTail())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (e *Engine) logTail() string {
	log, err := os.ReadFile(e.path("dockerd.log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}

// remove ends everything that the engine started and deletes its data.
func (e *Engine) remove() {
	if e.cmd != nil && e.cmd.ProcessState == nil {
		_ = e.cmd.Process.Kill()
		_ = e.cmd.Wait()
	}
	// The containers' processes survive a kill, and one that is killed may be replaced by its parent: until none is left.
	deadline := time.Now().Add(engineTimeout)
	for pids := e.processes(); len(pids) > 0; pids = e.processes() {
		for _, pid := range pids {
			if process, err := os.FindProcess(pid); err == nil {
				_ = process.Kill()
			}
		}
		if time.Now().After(deadline) {
			e.t.Errorf("processes of the engine in %s remain: %v", e.dir, pids)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if e.journal != nil {
		_ = e.journal.Wait()
	}
	for _, point := range mountsBelow(e.dir) {
		_ = detach(point)
	}
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Errorf("remove the engine's data: %v", err)
	}
}

// processes returns what runs on behalf of the engine: whatever names its folder (dockerd, containerd, the shims), and
// their children, which are the containers.
func (e *Engine) processes() []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	parents := map[int]int{}
	var found []int
	for _, stat := range stats {
		pid, err := strconv.Atoi(strings.Split(stat, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		content, err := os.ReadFile(stat)
		if err != nil {
			continue // gone meanwhile
		}
		var state string
		var parent int
		if _, err := fmt.Sscan(string(content[bytes.LastIndexByte(content, ')')+1:]), &state, &parent); err != nil || state == "Z" {
			continue
		}
		parents[pid] = parent
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && bytes.Contains(cmdline, []byte(e.dir)) {
			found = append(found, pid)
		}
	}
	for i := 0; i < len(found); i++ {
		for pid, parent := range parents {
			if parent == found[i] && !slices.Contains(found, pid) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// mountsBelow returns the mount points under dir, inner ones first.
func mountsBelow(dir string) []string {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points)
	return points
}
