package containerlogreceiver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// sshStarts is how many ssh log in at a time. An sshd with its usual settings refuses some where there are ten, those of others included.
	sshStarts = 4
	// sshCalls is how many connections all requests share that are no streams.
	sshCalls = 2
	// sshIdle is how long they are kept: longer than it takes from one list of the containers to the next, or each would log in.
	sshIdle = 5 * time.Minute
	// sshPause is the longest time between two tries while the engine does not answer: each is a log-in, and hosts shut out who fails often.
	sshPause = 30 * time.Second
)

// sshArguments returns the arguments of ssh that connect to the engine of another host, as the Docker CLI does it.
func sshArguments(endpoint string) ([]string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "ssh" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is no address such as ssh://user@host:22", endpoint)
	}
	if _, secret := u.User.Password(); secret {
		return nil, errors.New("an ssh endpoint cannot have a password; use a key")
	}
	// What a person has configured for a terminal or a tunnel of their own would spoil this one.
	arguments := []string{"-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ClearAllForwardings=yes"}
	// TCP is kept alive by itself, ssh is not. Nothing else tells that the stream of events is dead: a network in between may have forgotten it.
	arguments = append(arguments, "-o", "ServerAliveInterval=30")
	if user := u.User.Username(); user != "" {
		arguments = append(arguments, "-l", user)
	}
	if port := u.Port(); port != "" {
		arguments = append(arguments, "-p", port)
	}
	arguments = append(arguments, "--", u.Hostname(), "docker")
	if u.Path != "" && u.Path != "/" {
		arguments = append(arguments, "--host", "unix://"+u.Path)
	}
	return append(arguments, "system", "dial-stdio"), nil
}

// sshDialer starts an ssh for each connection. It is safe for concurrent use.
type sshDialer struct {
	arguments []string
	starts    *semaphore.Weighted
	patience  time.Duration // of a connection with the engine's first answer

	mu        sync.Mutex // guards below
	processes map[*processConn]struct{}
	closed    bool
}

func newSSHDialer(arguments []string) *sshDialer {
	return &sshDialer{arguments: arguments, starts: semaphore.NewWeighted(sshStarts), patience: callTimeout, processes: make(map[*processConn]struct{})}
}

// dial returns a connection when the engine has answered on it once.
func (d *sshDialer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := d.starts.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer d.starts.Release(1)
	c, err := d.start()
	if err != nil {
		return nil, err
	}
	if err := c.greet(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func (d *sshDialer) start() (*processConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, net.ErrClosed
	}
	command := exec.Command("ssh", d.arguments...) //nolint:gosec,noctx // of the configuration; the connection outlives the request that dials it
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	widen(out) // what has no room in the pipe waits in ssh, whose CPU time grows with it
	c := &processConn{dialer: d, command: command, in: in, out: out}
	command.Stderr, command.WaitDelay = &c.said, time.Second // a child of it may hold its streams open
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	d.processes[c] = struct{}{}
	return c, nil
}

// close ends all processes and waits for them. None is started after.
func (d *sshDialer) close() {
	d.mu.Lock()
	d.closed = true
	processes := slices.Collect(maps.Keys(d.processes))
	d.mu.Unlock()
	for _, c := range processes {
		_ = c.Close()
	}
}

func (d *sshDialer) forget(c *processConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.processes, c)
}

// processConn is a connection over the standard streams of a process, which ends with it.
type processConn struct {
	dialer  *sshDialer
	command *exec.Cmd
	in      io.WriteCloser
	out     io.ReadCloser
	said    lastWords
	once    sync.Once
}

func (c *processConn) Read(p []byte) (int, error) {
	n, err := c.out.Read(p)
	return n, c.explain(err)
}

func (c *processConn) Write(p []byte) (int, error) {
	n, err := c.in.Write(p)
	return n, c.explain(err)
}

// greet asks the engine for a sign of life, which says that ssh has logged in: ssh itself tells only what goes wrong.
func (c *processConn) greet() error {
	if pipe, ok := c.out.(interface{ SetReadDeadline(time.Time) error }); ok { // it works but for Windows, where only ssh knows that its peer is dead
		_ = pipe.SetReadDeadline(time.Now().Add(c.dialer.patience))
		defer pipe.SetReadDeadline(time.Time{}) //nolint:errcheck // if it was set, it can be taken back
	}
	if _, err := io.WriteString(c, "GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// explain has the process say why its streams have ended.
func (c *processConn) explain(err error) error {
	if err == nil {
		return nil
	}
	_ = c.Close() // when it returns, all that the process said is there
	if said := strings.TrimSpace(string(c.said)); said != "" {
		return fmt.Errorf("%s (%v)", said, err) //nolint:errorlint // an io.EOF within would be taken for the end of an answer
	}
	return err
}

// lastWords keeps the last KiB of what is written to it. It is not safe for concurrent use.
type lastWords []byte

func (e *lastWords) Write(p []byte) (int, error) {
	const most = 1024
	*e = append(*e, p[max(0, len(p)-most):]...)
	*e = append((*e)[:0], (*e)[max(0, len(*e)-most):]...)
	return len(p), nil
}

// Close ends the process and waits for it.
func (c *processConn) Close() error {
	c.once.Do(func() {
		_ = c.command.Process.Kill() // may have ended
		_ = c.in.Close()
		_ = c.out.Close()
		_ = c.command.Wait() // its exit status says nothing: it was killed
		c.dialer.forget(c)
	})
	return nil
}

func (c *processConn) LocalAddr() net.Addr              { return processAddr{} }
func (c *processConn) RemoteAddr() net.Addr             { return processAddr{} }
func (c *processConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *processConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *processConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type processAddr struct{}

func (processAddr) Network() string { return "ssh" }
func (processAddr) String() string  { return "ssh" }
