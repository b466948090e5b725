package dockertest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// texts returns the lines of one stream.
func texts(entries []Entry, stream string) []string {
	var lines []string
	for _, e := range entries {
		if e.Stream == stream {
			lines = append(lines, e.Text)
		}
	}
	return lines
}

func TestContainerWritesAndEndsAsTold(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40_000)
	begin := time.Now()
	c := Run(t, Spec{Name: Unique("dockertest"), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 2},
		script.Raw{Data: []byte("  a\tb \r\n\n")},
		script.Raw{Stream: script.Stderr, Data: []byte(long + "\n")},
		script.Raw{Data: []byte("part")},
		script.Exit{Code: 3},
	}})
	if code := c.WaitExit(10 * time.Second); code != 3 {
		t.Fatalf("exit code %d, want 3", code)
	}
	entries := c.Logs()
	if got, want := texts(entries, script.Stdout), []string{"stdout-1-1", "stdout-1-2", "  a\tb \r", "", "part"}; !reflect.DeepEqual(got, want) {
		t.Errorf("stdout: got %q, want %q", got, want)
	}
	if got, want := texts(entries, script.Stderr), []string{"stderr-1-1", "stderr-1-2", long}; !reflect.DeepEqual(got, want) {
		t.Errorf("stderr: got %.100q, want %.100q", got, want)
	}
	for _, e := range entries {
		if e.Stamp.Before(begin.Add(-time.Second)) || e.Stamp.After(time.Now().Add(time.Second)) {
			t.Errorf("stamp %v of %.20q is not of this test", e.Stamp, e.Text)
		}
	}
}

func TestOpenLastLineIsNotJoinedWithTheNextRun(t *testing.T) {
	t.Parallel()
	c := Run(t, Spec{Steps: []script.Step{
		script.Lines{Count: 1, NoFinalNewline: true}, script.Lines{Stream: script.Stderr, Count: 1}, script.Wait{Signal: "TERM"},
	}})
	waitLines(t, c, 1) // the engine keeps the open line to itself until it ends
	c.Restart(5)
	waitLines(t, c, 3)
	c.Stop(5)
	if got, want := texts(c.Logs(), script.Stdout), []string{"stdout-1-1", "stdout-2-1"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestNumbersResumeOverRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	c := Run(t, Spec{Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 2000, PerSecond: 500, Resume: true}, script.Wait{Signal: "TERM"},
	}})
	for range 3 {
		waitLines(t, c, min(len(c.Logs())+10, 4000)) // a busy machine may be through before the last restart
		c.Restart(5)
	}
	waitLines(t, c, 4000)
	entries := c.Logs()
	for _, stream := range []string{script.Stdout, script.Stderr} {
		lines := texts(entries, stream)
		last := 1
		for i, text := range lines {
			name, run, seq, ok := script.ParseLine(text)
			if !ok || name != stream || seq != i+1 || run < last {
				t.Fatalf("%s line %d is %q, after run %d", stream, i+1, text, last)
			}
			last = run
		}
		if len(lines) != 2000 || last == 1 {
			t.Errorf("%s: %d lines in %d runs, want 2000 in several", stream, len(lines), last)
		}
	}
}

func TestTTYIsReadWithoutFrames(t *testing.T) {
	t.Parallel()
	c := Run(t, Spec{TTY: true, Steps: []script.Step{script.Lines{Stream: script.Both, Count: 2}}})
	c.WaitExit(10 * time.Second)
	want := []string{"stdout-1-1", "stderr-1-1", "stdout-1-2", "stderr-1-2"}
	if got := texts(c.Logs(), script.Stdout); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestSpecReachesTheEngine(t *testing.T) {
	t.Parallel()
	name := Unique("dockertest-spec")
	c := Create(t, Spec{
		Name: name, Labels: map[string]string{"a": "b"}, Env: []string{"C=d"}, Restart: "on-failure",
		LogDriver: "local", LogOpts: map[string]string{"max-size": "1m", "max-file": "2"},
		Adjust: func(c *container.Config, h *container.HostConfig) { c.Hostname = "other" },
	})
	info := c.Inspect()
	if info.State.Status != container.StateCreated {
		t.Errorf("state %s", info.State.Status)
	}
	if c.Name != name || info.Config.Labels["a"] != "b" || info.Config.Env[0] != "C=d" || info.Config.Hostname != "other" {
		t.Errorf("got %q, %+v", c.Name, info.Config)
	}
	log := info.HostConfig.LogConfig
	if log.Type != "local" || log.Config["max-size"] != "1m" || log.Config["max-file"] != "2" {
		t.Errorf("got %+v", log)
	}
	if info.HostConfig.RestartPolicy.Name != "on-failure" || info.HostConfig.NetworkMode != "none" {
		t.Errorf("got %+v", info.HostConfig)
	}
}

func TestSignalsPauseRenameAndCrashLoop(t *testing.T) {
	t.Parallel()
	c := Run(t, Spec{Steps: []script.Step{
		script.Lines{Count: 1}, script.Wait{Signal: "USR1"}, script.Lines{Count: 1}, script.Wait{Signal: "TERM"}, script.Raw{Data: []byte("BYE\n")}, script.Exit{Code: 3},
	}})
	waitLines(t, c, 1) // process 1 is deaf for signals until it has set itself up
	c.Pause()
	c.Unpause()
	c.Rename(Unique("dockertest-renamed"))
	c.Signal("USR1")
	waitLines(t, c, 2)
	c.Stop(5)
	if code := c.WaitExit(time.Second); code != 3 {
		t.Errorf("exit code %d", code)
	}
	if got := texts(c.Logs(), script.Stdout); !reflect.DeepEqual(got, []string{"stdout-1-1", "stdout-1-2", "BYE"}) {
		t.Errorf("got %q", got)
	}

	loop := Run(t, Spec{Restart: "always", Steps: []script.Step{script.Lines{Count: 1}, script.Exit{Code: 1}}})
	waitLines(t, loop, 3)
	if got := texts(loop.Logs(), script.Stdout)[:3]; !reflect.DeepEqual(got, []string{"stdout-1-1", "stdout-2-1", "stdout-3-1"}) {
		t.Errorf("got %q", got)
	}
}

func TestContainersAreGoneAfterTheTest(t *testing.T) {
	t.Parallel()
	cli := Client(t)
	ids := map[string]string{}
	t.Run("inner", func(t *testing.T) {
		ids["running"] = Run(t, Spec{Steps: []script.Step{script.Wait{}}}).ID
		ids["created"] = Create(t, Spec{}).ID
		removed := Run(t, Spec{AutoRemove: true, Steps: []script.Step{script.Lines{Count: 1}}})
		ids["removed by the engine"] = removed.ID
	})
	for name, id := range ids {
		deadline := time.Now().Add(5 * time.Second)
		for {
			_, err := cli.ContainerInspect(context.Background(), id)
			if err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("container %s is still there", name)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// TestWithoutEngine is run by itself as a child below.
func TestWithoutEngine(t *testing.T) {
	if os.Getenv("DOCKERTEST_CHILD") != "" {
		Client(t)
		return
	}
	t.Parallel()
	for ci, want := range map[string]string{"": "--- SKIP", "true": "--- FAIL"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWithoutEngine$", "-test.v")
		cmd.Env = append(os.Environ(), "DOCKERTEST_CHILD=1", "CI="+ci, "DOCKER_HOST=unix://"+t.TempDir()+"/none.sock")
		out, err := cmd.CombinedOutput()
		if text := string(out); !strings.Contains(text, want) || !strings.Contains(text, "NOT TESTED") || (err != nil) != (ci != "") {
			t.Errorf("CI=%q: got %v, %s", ci, err, text)
		}
	}
}

func TestEngineSurvivesKillWithItsContainers(t *testing.T) {
	t.Parallel()
	engine := NewEngine(t, EngineSettings{LiveRestore: true})
	if _, err := engine.Client().Ping(t.Context()); !client.IsErrConnectionFailed(err) {
		t.Fatalf("ping before start: %v", err)
	}
	engine.Start()
	c := Run(t, Spec{Client: engine.Client(), Steps: []script.Step{
		script.Lines{Stream: script.Both, PerSecond: 500},
	}})
	const kills = 2
	for range kills {
		waitLines(t, c, len(c.Logs())+10)
		engine.Kill()
		if _, err := engine.Client().Ping(t.Context()); !client.IsErrConnectionFailed(err) {
			t.Fatalf("ping after kill: %v", err)
		}
		engine.Start()
		if state := c.Inspect().State; !state.Running {
			t.Fatalf("container did not survive: %+v", state)
		}
	}
	waitLines(t, c, len(c.Logs())+10)
	entries := c.Logs()
	for _, stream := range []string{script.Stdout, script.Stderr} {
		// A kill costs what the engine had read from the pipe and not written yet, at most one buffer of 16 KiB. It may
		// end in a line, the rest of which is then the first thing that the next engine reads.
		next, gaps, torn := 1, 0, false
		for _, text := range texts(entries, stream) {
			name, run, seq, ok := script.ParseLine(text)
			if whole := ok && name == stream; !whole && !torn {
				torn = true
				continue
			} else if !whole || run != 1 || seq < next || torn && seq == next {
				t.Fatalf("%s: got %q, want line %d or a later one", stream, text, next)
			}
			if seq > next {
				gaps++
			}
			if lost := seq - next; lost > 16<<10/len("stdout-1-1") {
				t.Errorf("%s: %d lines before %q are lost", stream, lost, text)
			}
			next, torn = seq+1, false
		}
		if gaps > kills {
			t.Errorf("%s: %d gaps from %d kills", stream, gaps, kills)
		}
	}
	engine.Stop()
	if pids := engine.processes(); len(pids) == 0 {
		t.Error("live-restore: the container ended with the engine")
	}
}

// TestEngineOfAKilledTest is run by itself as a child below.
func TestEngineOfAKilledTest(t *testing.T) {
	if told := os.Getenv("DOCKERTEST_CHILD"); told != "" {
		engine := NewEngine(t, EngineSettings{})
		engine.Start()
		Run(t, Spec{Client: engine.Client(), Steps: []script.Step{script.Wait{}}})
		if err := os.WriteFile(told, []byte(engine.dir), 0o600); err != nil {
			t.Fatal(err)
		}
		process, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(process.Kill())
	}
	t.Parallel()
	told := filepath.Join(t.TempDir(), "dir")
	cmd := exec.Command(os.Args[0], "-test.run=^TestEngineOfAKilledTest$")
	cmd.Env = append(os.Environ(), "DOCKERTEST_CHILD="+told)
	out, _ := cmd.CombinedOutput()
	dir, err := os.ReadFile(told)
	if err != nil {
		Unavailable(t, "the child could not start an engine: %s", out)
	}
	killed := &Engine{t: t, dir: string(dir)}
	if len(killed.processes()) < 3 {
		t.Fatalf("nothing was left behind: %v", killed.processes())
	}
	NewEngine(t, EngineSettings{})
	if left := killed.processes(); len(left) > 0 {
		t.Errorf("processes of the killed test's engine: %v", left)
	}
	if _, err := os.Stat(killed.dir); !os.IsNotExist(err) {
		t.Errorf("folder of the killed test's engine: %v", err)
	}
}

func waitLines(t *testing.T, c *Container, n int) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for len(c.Logs()) < n {
		if time.Now().After(deadline) {
			t.Fatalf("the engine has %d lines after 30 s, want %d", len(c.Logs()), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
