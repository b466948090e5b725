//go:build linux

package containerlogreceiver

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// Row 50 with a real sshd before the engine. The tests share a program named ssh in their path, and so run apart from others.
func TestRealEngineThroughSSH(t *testing.T) {
	shim := newSSHShim(t)
	t.Run("what is wrong is said and put right", func(t *testing.T) {
		t.Parallel()
		testRealSSHTrouble(t, shim)
	})
	t.Run("sessions are cut", func(t *testing.T) {
		t.Parallel()
		testRealSSHIsCut(t, shim)
	})
	t.Run("a session hangs", func(t *testing.T) {
		t.Parallel()
		testRealSSHHangs(t, shim)
	})
	t.Run("few processes", func(t *testing.T) {
		t.Parallel()
		testRealSSHIsStartedSeldom(t, shim)
	})
}

// One receiver meets all that can be wrong at first, and nobody starts it again.
func testRealSSHTrouble(t *testing.T, shim string) {
	host := newSSHHost(t, shim)
	r := host.rig()
	r.start()
	awaitTrouble(r, "Connection refused")
	host.start()
	awaitTrouble(r, "Host key verification failed.")
	host.becomeKnown()
	awaitTrouble(r, "Permission denied (publickey")
	host.authorize()
	awaitUp(r)
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Stream: script.Both, Count: 100}, script.Wait{}}})
	r.awaitLines(c.ID, 200)
	r.requireExact(c)
	r.stop()
	require.Empty(t, host.processes())
}

// Lines that come slowly and fast are exact over sessions that end and an sshd that is away.
func testRealSSHIsCut(t *testing.T, shim string) {
	host := startSSHHost(t, shim)
	r := host.rig()
	r.start()
	awaitUp(r)
	steady := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, PerSecond: 100}, script.Wait{Signal: "TERM"},
	}})
	burst := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 20_000, Length: 200}, script.Lines{Count: 1, Length: 100_000}, script.Wait{},
	}})
	for _, n := range []int{5000, 20_000} {
		waitFor(t, "a part of the lines", func() bool { return r.consumer.Len() >= n })
		host.cut()
	}
	waitFor(t, "some more", func() bool { return r.consumer.Len() >= 30_000 })
	host.stop()
	awaitTrouble(r, "Connection refused")
	host.start()
	awaitUp(r)
	waitFor(t, "the burst", func() bool { return r.consumer.Len() > 40_000 })
	steady.Stop(10)
	all := len(burst.Logs()) + len(steady.Logs())
	waitFor(t, "the rest", func() bool { return r.consumer.Len() >= all })
	r.requireExact(steady)
	r.requireExact(burst)
	require.Zero(t, r.metric("logcapture_gaps"))
	r.stop()
	require.Empty(t, host.processes())
}

// A peer that has vanished answers nothing and ends nothing.
func testRealSSHHangs(t *testing.T, shim string) {
	host := startSSHHost(t, shim)
	r := host.rig()
	r.config.IdleCheckInterval = time.Second
	r.start()
	awaitUp(r)
	before := host.sessions()
	c := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Stream: script.Both, Count: 10}, script.Wait{Signal: "USR1"}, script.Lines{Stream: script.Both, Count: 10}, script.Wait{},
	}})
	r.awaitLines(c.ID, 20)
	for session := range host.sessions() {
		if !before[session] { // of its log
			require.NoError(t, unix.Kill(session, unix.SIGSTOP))
		}
	}
	c.Signal("USR1")
	r.awaitLines(c.ID, 40)
	r.requireExact(c)
	r.stop()
	require.Empty(t, host.processes())
}

// A log has one process, the events have one, and all that is asked has two at most, from the beginning on.
func testRealSSHIsStartedSeldom(t *testing.T, shim string) {
	const containers = 6
	host := startSSHHost(t, shim)
	var all []*dockertest.Container
	for range containers {
		all = append(all, dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 1}, script.Wait{}}}))
	}
	r := host.rig()
	r.start()
	for _, c := range all {
		r.awaitLines(c.ID, 1)
	}
	require.LessOrEqual(t, len(host.started()), containers+1+sshCalls)
	for _, c := range all {
		c.Remove()
	}
	f := r.receiver.(*containerLog).follower
	waitFor(t, "forgetting", func() bool { // those of other tests are known too
		return !slices.ContainsFunc(all, func(c *dockertest.Container) bool { return f.get(c.ID) != nil })
	})
	waitFor(t, "the end of what read the logs", func() bool {
		f.engine.transport.CloseIdleConnections() // they would end by themselves after half a minute
		return len(host.processes()) <= 1+sshCalls
	})
	r.stop()
	require.Empty(t, host.processes())
}

// newSSHShim has the receivers of a test find an ssh that takes a configuration file of the test's own, and notes each start. It returns the
// directory for that.
func newSSHShim(t *testing.T) (dir string) {
	t.Helper()
	if _, err := exec.LookPath(sshd); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	if shadow, err := os.ReadFile("/etc/shadow"); err != nil || strings.Contains("\n"+string(shadow), "\nroot:!") {
		t.Skip("NOT TESTED: an sshd wants root, and an account that is not locked")
	}
	ssh, err := exec.LookPath("ssh")
	require.NoError(t, err)
	dir = t.TempDir()
	writeFiles(t, dir, map[string][]byte{"config": []byte("Include " + dir + "/*.conf\n")})
	text := fmt.Sprintf(`#!/bin/sh
for argument in "$@"; do
	[ "$before" = -- ] && host=$argument
	before=$argument
done
echo $$ >>%[1]s/$host.pids
exec %[2]s -F %[1]s/config "$@"
`, dir, ssh)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(text), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

const sshd = "/usr/sbin/sshd" // it wants to be started by its path

// sshHost is an sshd before the engine at hand, and the name by which ssh finds it.
type sshHost struct {
	t               *testing.T
	name, dir, shim string
	engine          string // path of its socket
	address         *net.TCPAddr
	key             string // public, of the host and of who logs in
	cmd             *exec.Cmd
}

// startSSHHost starts one that is known and lets the receiver in.
func startSSHHost(t *testing.T, shim string) *sshHost {
	t.Helper()
	host := newSSHHost(t, shim)
	host.becomeKnown()
	host.authorize()
	host.start()
	return host
}

// newSSHHost prepares one: it is not known to ssh, and lets nobody in.
func newSSHHost(t *testing.T, shim string) *sshHost {
	t.Helper()
	engine, local := strings.CutPrefix(dockertest.Client(t).DaemonHost(), "unix://")
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}
	if !local {
		t.Skip("NOT TESTED: the sshd has to be on the engine's host")
	}
	h := &sshHost{t: t, name: dockertest.Unique("logcapture"), dir: t.TempDir(), shim: shim, engine: engine, address: loopbackAddress()}
	out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(h.dir, "key")).CombinedOutput()
	require.NoError(t, err, string(out))
	key, err := os.ReadFile(filepath.Join(h.dir, "key.pub"))
	require.NoError(t, err)
	h.key = string(key)
	writeFiles(t, shim, map[string][]byte{h.name + ".conf": []byte(fmt.Sprintf(`Host %s
	HostName %s
	Port %d
	IdentityFile %[4]s/key
	IdentitiesOnly yes
	IdentityAgent none
	UserKnownHostsFile %[4]s/known_hosts
	GlobalKnownHostsFile /dev/null
`, h.name, h.address.IP, h.address.Port, h.dir))})
	writeFiles(t, h.dir, map[string][]byte{"sshd_config": []byte(fmt.Sprintf(`ListenAddress %s
HostKey %[2]s/key
AuthorizedKeysFile %[2]s/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
SetEnv PATH=%[3]s
`, h.address, h.dir, os.Getenv("PATH")))})
	t.Cleanup(func() {
		if h.cmd != nil {
			h.stop()
		}
	})
	return h
}

// becomeKnown lets ssh trust the host.
func (h *sshHost) becomeKnown() {
	writeFiles(h.t, h.dir, map[string][]byte{"known_hosts": []byte(fmt.Sprintf("[%s]:%d %s", h.address.IP, h.address.Port, h.key))})
}

// authorize lets the host trust who has the key.
func (h *sshHost) authorize() {
	writeFiles(h.t, h.dir, map[string][]byte{"authorized_keys": []byte(h.key)})
}

// start starts the sshd and waits until it listens.
func (h *sshHost) start() {
	h.t.Helper()
	require.NoError(h.t, os.MkdirAll("/run/sshd", 0o755)) //nolint:gosec // as a service manager makes it for an sshd
	log, err := os.OpenFile(filepath.Join(h.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(h.t, err)
	defer log.Close()
	h.cmd = exec.Command(sshd, "-D", "-e", "-f", filepath.Join(h.dir, "sshd_config"))
	h.cmd.Stderr = log
	require.NoError(h.t, h.cmd.Start())
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTCP("tcp", nil, h.address)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			h.t.Fatalf("the sshd does not listen: %v\n%s", err, said)
		}
	}
}

// stop ends the sshd with all its sessions.
func (h *sshHost) stop() {
	pid := h.cmd.Process.Pid
	_ = unix.Kill(pid, unix.SIGSTOP) // else one could begin meanwhile
	sessions := h.sessions()
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	for session := range sessions {
		_ = unix.Kill(session, unix.SIGKILL)
	}
	h.cmd = nil
}

// cut ends the sessions that there are.
func (h *sshHost) cut() {
	for session := range h.sessions() {
		_ = unix.Kill(session, unix.SIGKILL)
	}
}

// sessions returns their processes.
func (h *sshHost) sessions() map[int]bool {
	h.t.Helper()
	pid := h.cmd.Process.Pid
	return h.pids(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
}

// started returns the processes that have been started to log in.
func (h *sshHost) started() map[int]bool {
	h.t.Helper()
	return h.pids(filepath.Join(h.shim, h.name+".pids"))
}

// processes returns those of them that are there, also when nobody waits for their end.
func (h *sshHost) processes() (left []int) {
	h.t.Helper()
	for pid := range h.started() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), "(ssh)") {
			left = append(left, pid)
		}
	}
	return left
}

func (h *sshHost) pids(file string) map[int]bool {
	h.t.Helper()
	content, err := os.ReadFile(file)
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(h.t, err)
	}
	pids := make(map[int]bool)
	for _, field := range strings.Fields(string(content)) {
		pid, err := strconv.Atoi(field)
		require.NoError(h.t, err)
		pids[pid] = true
	}
	return pids
}

// rig prepares a receiver that reads the engine through ssh, of which it follows the containers of the test.
func (h *sshHost) rig() *rig {
	return newRig(h.t, func(c *Config) {
		c.Endpoint = "ssh://" + h.name + h.engine
		c.Include.Names = []string{prefixFor(h.t) + "-*"}
	})
}
