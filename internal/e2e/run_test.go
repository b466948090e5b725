//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// interruptLimit is "a second" of the promise, on a machine that does other things too; one of two interrupts has to keep it.
const interruptLimit = 2 * time.Second

// TestMakeRun is what a newcomer does: make run, look, Ctrl-C, again with an OTLP endpoint.
func TestMakeRun(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		dockertest.Unavailable(t, "make run needs make: %v", err)
	}
	name := dockertest.Unique("e2e-run")
	says := name + " says"
	ten := script.Raw{Data: []byte(says + "\n"), Repeat: 10}
	c := dockertest.Run(t, dockertest.Spec{Name: name, Steps: []script.Step{
		ten, script.Wait{Signal: "USR1"}, ten, script.Wait{},
	}})
	hosts := hostLog(t, name)
	dir := newcomer(t)

	first := makeRun(t, dir)
	first.prints(t, 10, says)
	first.prints(t, 1, hosts)
	tookFirst := first.interrupt(t, first.collector(t))
	if code := first.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("make run ended with code %d after SIGINT, want 0\n%s", code, first.errors())
	}

	// Positions lie under ./data too: the second run has only what is new.
	sink := newSink(t)
	sink.keep = func(resource map[string]any) bool { return resource["container.id"] == c.ID }
	second := makeRun(t, dir, "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+sink.addr, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	c.Signal("USR1")
	second.prints(t, 10, says)
	eventually(t, readyLimit, "lines at the OTLP endpoint", func() string {
		if n := len(sink.all()); n < 10 {
			return fmt.Sprintf("%d of 10", n)
		}
		return ""
	})
	// Ctrl-C reaches every process of the terminal's group: make as well.
	tookSecond := second.interrupt(t, -second.cmd.Process.Pid)
	if min(tookFirst, tookSecond) > interruptLimit {
		t.Errorf("make run took %v and %v to end after SIGINT", tookFirst, tookSecond)
	}
	if got := recordsByContainer(t, filepath.Join(dir, "data/logs.json"))[c.ID]; got != 20 {
		t.Errorf("data/logs.json has %d records of the container, want 20", got)
	}
	if second.count(says) != 10 || second.count(hosts) != 0 {
		t.Errorf("the second run repeats lines of the first:\n%s", second.output())
	}
}

// hostLog writes a line to a log file of this host and returns it; empty where that is not allowed.
func hostLog(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/log", "logcapture-e2e-")
	if os.IsPermission(err) {
		t.Logf("NOT TESTED: no right to write to /var/log, so make run's capture of files is not looked at")
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	line := "a host's line of " + name
	if err := os.WriteFile(filepath.Join(dir, "app.log"), []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return line
}

// newcomer returns a folder with what make run needs of a checkout, so that the ./data of the real one stays as it is.
func newcomer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Makefile", "testdata"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// running is a `make run` with its output in files.
type running struct {
	cmd  *exec.Cmd
	dir  string
	done chan struct{}
}

func makeRun(t *testing.T, dir string, env ...string) *running {
	t.Helper()
	r := &running{dir: t.TempDir(), done: make(chan struct{})}
	files := [2]*os.File{}
	for i, name := range []string{"out", "err"} {
		file, err := os.Create(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files[i] = file
	}
	// The binary is built already: -o leaves it at that.
	r.cmd = exec.Command("make", "-o", "build", "run", "BIN="+distribution(t))
	r.cmd.Dir = dir
	r.cmd.Env = append(os.Environ(), env...)
	r.cmd.Stdout, r.cmd.Stderr = files[0], files[1]
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
		<-r.done
	})
	return r
}

// collector returns the process that make waits for.
func (r *running) collector(t *testing.T) int {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		_, _ = fmt.Sscan(strings.Split(stat, "/")[2], &pid)
		_, _ = fmt.Sscan(string(content[bytes.LastIndexByte(content, ')')+1:]), &state, &parent)
		if parent == r.cmd.Process.Pid {
			return pid
		}
	}
	t.Fatalf("make has no child\n%s", r.errors())
	return 0
}

// interrupt sends SIGINT to a process or a group and waits until make has ended, and with it the whole group. It returns how long that took.
func (r *running) interrupt(t *testing.T, pid int) time.Duration {
	t.Helper()
	begin := time.Now()
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "end of make run", func() string {
		select {
		case <-r.done:
		default:
			return "make runs"
		}
		if syscall.Kill(-r.cmd.Process.Pid, 0) == nil {
			return "the collector runs"
		}
		return ""
	})
	return time.Since(begin)
}

// prints waits for that many lines with the text on the console; an empty text is not waited for.
func (r *running) prints(t *testing.T, n int, text string) {
	t.Helper()
	if text == "" {
		return
	}
	eventually(t, readyLimit, fmt.Sprintf("%d lines with %q on the console", n, text), func() string {
		select {
		case <-r.done:
			t.Fatalf("make run ended with code %d\n%s", r.cmd.ProcessState.ExitCode(), r.errors())
		default:
		}
		if got := r.count(text); got < n {
			return fmt.Sprintf("%d\n%s%s", got, r.output(), r.errors())
		}
		return ""
	})
}

// count returns how many lines of the console hold the text.
func (r *running) count(text string) int {
	n := 0
	for line := range strings.Lines(r.output()) {
		if text != "" && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (r *running) output() string { return r.read("out") }
func (r *running) errors() string { return r.read("err") }

func (r *running) read(name string) string {
	content, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		return err.Error()
	}
	return string(content)
}
