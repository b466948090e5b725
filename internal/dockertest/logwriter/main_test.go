//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// asWriter makes the test binary act as the program, so that signals and exit codes are the real ones.
const asWriter = "LOGWRITER_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asWriter) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func command(t *testing.T, dir string, steps ...script.Step) *exec.Cmd {
	t.Helper()
	args, err := script.Args(steps)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asWriter+"=1", "LOGWRITER_STATE="+dir)
	return cmd
}

// play runs the steps to their end.
func play(t *testing.T, dir string, steps ...script.Step) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, dir, steps...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func numbered(stream string, run, from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "%s-%d-%d\n", stream, run, i)
	}
	return b.String()
}

func TestStepsWriteExactly(t *testing.T) {
	for name, tc := range map[string]struct {
		steps          []script.Step
		stdout, stderr string
		code           int
	}{
		"lines on both streams": {
			steps:  []script.Step{script.Lines{Stream: script.Both, Count: 3}},
			stdout: numbered("stdout", 1, 1, 3), stderr: numbered("stderr", 1, 1, 3),
		},
		"numbers go on over steps, the last line stays open": {
			steps: []script.Step{
				script.Lines{Count: 2},
				script.Lines{Stream: script.Both, Count: 2, NoFinalNewline: true},
			},
			stdout: strings.TrimSuffix(numbered("stdout", 1, 1, 4), "\n"),
			stderr: strings.TrimSuffix(numbered("stderr", 1, 1, 2), "\n"),
		},
		"blocks": {
			steps:  []script.Step{script.Lines{Stream: script.Stderr, Count: 1000, Block: 100}},
			stderr: numbered("stderr", 1, 1, 1000),
		},
		"raw bytes and the exit code": {
			steps: []script.Step{
				script.Raw{Data: []byte("a\x00\xff"), Repeat: 2},
				script.Wait{Millis: 1},
				script.Raw{Stream: script.Both, Data: []byte("\n")},
				script.Exit{Code: 3},
				script.Lines{Count: 1},
			},
			stdout: "a\x00\xffa\x00\xff\n", stderr: "\n", code: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := play(t, t.TempDir(), tc.steps...)
			if stdout != tc.stdout || stderr != tc.stderr || code != tc.code {
				t.Fatalf("got %q, %q, code %d; want %q, %q, code %d", stdout, stderr, code, tc.stdout, tc.stderr, tc.code)
			}
		})
	}
}

func TestRunsAreCountedAndNumbersResume(t *testing.T) {
	dir := t.TempDir()
	for run, want := range []string{numbered("stdout", 1, 1, 2), numbered("stdout", 2, 3, 5), ""} {
		stdout, _, _ := play(t, dir, script.Lines{Count: []int{2, 5, 5}[run], Resume: true})
		if stdout != want {
			t.Fatalf("run %d: got %q, want %q", run+1, stdout, want)
		}
	}
	perRun := script.Lines{Count: 10, Resume: true, PerRun: 3}
	for run, want := range []string{numbered("stdout", 4, 6, 8), numbered("stdout", 5, 9, 10)} {
		if stdout, _, _ := play(t, dir, perRun); stdout != want {
			t.Fatalf("run %d: got %q, want %q", run+4, stdout, want)
		}
	}
	if stdout, _, _ := play(t, dir, script.Lines{Count: 1}); stdout != numbered("stdout", 6, 1, 1) {
		t.Fatalf("without resume: got %q", stdout)
	}
}

func TestWaitForFileEndsWhenItAppears(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "go")
	cmd := command(t, dir, script.Lines{Count: 1}, script.Wait{File: path}, script.Lines{Count: 1})
	out := start(t, cmd)
	readLine(t, out, "stdout-1-1\n")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	readLine(t, out, "stdout-1-2\n")
	finish(t, cmd, out, 0)
}

func TestSignals(t *testing.T) {
	bye := []script.Step{script.Wait{Signal: "TERM"}, script.Raw{Data: []byte("BYE\n")}, script.Exit{Code: 3}}
	for name, tc := range map[string]struct {
		steps []script.Step
		send  []os.Signal
		last  string
		code  int
	}{
		"TERM ends a wait for ever": {
			steps: []script.Step{script.Wait{}},
			send:  []os.Signal{syscall.SIGTERM}, code: exitTerminated,
		},
		"TERM ends lines for ever at the end of a line": {
			steps: []script.Step{script.Lines{PerSecond: 1}},
			send:  []os.Signal{syscall.SIGTERM}, code: exitTerminated,
		},
		"TERM is waited for": {steps: bye, send: []os.Signal{syscall.SIGTERM}, last: "BYE\n", code: 3},
		"TERM during lines goes on behind the wait for it": {
			steps: append([]script.Step{script.Wait{}}, bye...),
			send:  []os.Signal{syscall.SIGTERM}, last: "BYE\n", code: 3,
		},
		"other signals are kept for their wait": {
			steps: []script.Step{
				script.Wait{Signal: "USR1"}, script.Raw{Data: []byte("one\n")}, script.Wait{Signal: "HUP"}, script.Exit{Code: 4},
			},
			send: []os.Signal{syscall.SIGHUP, syscall.SIGUSR1}, last: "one\n", code: 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, t.TempDir(), append([]script.Step{script.Raw{Data: []byte("up\n")}}, tc.steps...)...)
			out := start(t, cmd)
			readLine(t, out, "up\n")
			for _, sig := range tc.send {
				if err := cmd.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			rest := finish(t, cmd, out, tc.code)
			if !strings.HasSuffix(rest, tc.last) || (rest != "" && !strings.HasSuffix(rest, "\n")) {
				t.Fatalf("got %q, want it to end with %q", rest, tc.last)
			}
		})
	}
}

func TestWrongArgumentsEndWithAnError(t *testing.T) {
	cmd := exec.Command(os.Args[0], "nonsense")
	cmd.Env = append(os.Environ(), asWriter+"=1", "LOGWRITER_STATE="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 125 {
		t.Fatalf("got %v, output %q", err, out)
	}
}

func start(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return bufio.NewReader(out)
}

func readLine(t *testing.T, out *bufio.Reader, want string) {
	t.Helper()
	if got, err := out.ReadString('\n'); err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func finish(t *testing.T, cmd *exec.Cmd, out io.Reader, code int) string {
	t.Helper()
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != code {
		t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit code %d, want %d", got, code)
	}
	return string(rest)
}
