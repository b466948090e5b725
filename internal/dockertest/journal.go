package dockertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// journald is where Debian and others have it; it is in nobody's path.
const journald = "/lib/systemd/systemd-journald"

// journalConf lets everything in: by default journald drops what a service logs beyond 10,000 messages in 30 seconds, and all containers
// are one service.
const journalConf = `[Journal]
Storage=volatile
RateLimitIntervalSec=0
ReadKMsg=no
Audit=no
`

// asHost runs a program where the engine's folder is in the place of the host's journal. Both journald and dockerd have its paths built in.
const asHost = `
mkdir -p /run/systemd /run/log && mount --bind "$0/systemd" /run/systemd && mount --bind "$0/log" /run/log || exit
if [ -d /var/log/journal ]; then mount -t tmpfs none /var/log/journal || exit; fi
`

// needJournal skips the test where no journald can be run.
func (e *Engine) needJournal() {
	e.t.Helper()
	for _, path := range []string{journald, "/etc/machine-id"} {
		if _, err := os.Stat(path); err != nil {
			e.t.Skipf("NOT TESTED: no journald can be run: %v", err)
		}
	}
}

// startJournal starts the engine's own journald, where it does not run yet. It runs until the test ends.
func (e *Engine) startJournal() {
	e.t.Helper()
	if e.journal != nil {
		return
	}
	conf := e.path("systemd/journald.conf.d/test.conf")
	for _, dir := range []string{filepath.Dir(conf), e.path("systemd/journal"), e.path("log")} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as they are elsewhere
			e.t.Fatal(err)
		}
	}
	if err := os.WriteFile(conf, []byte(journalConf), 0o600); err != nil {
		e.t.Fatal(err)
	}
	// It stays a child of the shell, by whose arguments it is found when this process is killed.
	e.journal = exec.Command("setsid", "unshare", "--mount", "sh", "-c", asHost+journald+" & wait", e.dir)
	if err := e.journal.Start(); err != nil {
		e.t.Fatalf("start journald: %v", err)
	}
	e.await("the start of journald", func() bool {
		if ended(e.journal.Process.Pid) {
			e.t.Skip("NOT TESTED: journald does not run here")
		}
		_, err := os.Stat(e.path("systemd/journal/socket"))
		return err == nil
	})
}

// withJournal lets a program see the engine's journald as the host's.
func (e *Engine) withJournal(cmd *exec.Cmd) *exec.Cmd {
	inside := exec.Command("unshare", append([]string{"--mount", "sh", "-c", asHost + `exec "$@"`, e.dir}, cmd.Args...)...)
	inside.Env = cmd.Env
	return inside
}

// FreezeJournal stops the engine's journald, or lets it go on. What is sent to it meanwhile waits for it.
func (e *Engine) FreezeJournal(frozen bool) {
	e.t.Helper()
	if err := freeze(e.journal.Process.Pid, frozen); err != nil {
		e.t.Fatalf("freeze journald: %v", err)
	}
}

// Journalctl tells the engine's journald what to do.
func (e *Engine) Journalctl(args ...string) {
	e.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--mount", "--target", strconv.Itoa(e.PID()), "journalctl"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("journalctl %q: %v\n%s", args, err, out)
	}
}
