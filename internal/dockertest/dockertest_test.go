package dockertest

import (
	"bytes"
	"context"
	"io"
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
	if code := c.WaitExit(time.Minute); code != 3 {
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
	c.Restart(30)
	waitLines(t, c, 3)
	c.Stop(30)
	if got, want := texts(c.Logs(), script.Stdout), []string{"stdout-1-1", "stdout-2-1"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestNumbersResumeOverRestartsInTheMiddle(t *testing.T) {
	t.Parallel()
	c := Run(t, Spec{Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 2000, PerSecond: 250, Resume: true}, script.Wait{Signal: "TERM"},
	}})
	for range 3 {
		waitLines(t, c, min(len(c.Logs())+10, 4000)) // a busy machine may be through before the last restart
		c.Restart(30)
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
	c.WaitExit(time.Minute)
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
	c.Stop(30)
	if code := c.WaitExit(time.Minute); code != 3 {
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
		deadline := time.Now().Add(time.Minute)
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
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its parent has ended
		return
	}
	t.Parallel()
	told := filepath.Join(t.TempDir(), "dir")
	cmd := exec.Command(os.Args[0], "-test.run=^TestEngineOfAKilledTest$")
	cmd.Env = append(os.Environ(), "DOCKERTEST_CHILD="+told)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var dir []byte
	for len(dir) == 0 {
		select {
		case err := <-ended:
			Unavailable(t, "the child could not start an engine: %v\n%s", err, &out)
		case <-time.After(10 * time.Millisecond):
		}
		dir, _ = os.ReadFile(told)
	}
	killed := &Engine{t: t, dir: string(dir)}
	// As long as it lives: from then on any test, of another package too, takes away what it has left behind.
	running := killed.processes()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if len(running) < 3 {
		t.Fatalf("the child has no engine with a container: %v", running)
	}
	NewEngine(t, EngineSettings{})
	deadline := time.Now().Add(time.Minute) // for one that had begun before
	for len(killed.processes()) > 0 || exists(killed.dir) {
		if time.Now().After(deadline) {
			t.Fatalf("of the killed test's engine there are processes %v, folder %t", killed.processes(), exists(killed.dir))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func waitLines(t *testing.T, c *Container, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for len(c.Logs()) < n {
		if time.Now().After(deadline) {
			t.Fatalf("the engine has %d lines after a minute, want %d", len(c.Logs()), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
