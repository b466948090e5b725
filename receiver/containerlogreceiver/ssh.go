package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
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
	arguments := []string{"-o", "BatchMode=yes", "-o", "ConnectTimeout=30"}
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

// dialSSH starts an ssh for one connection.
func dialSSH(arguments []string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		command := exec.Command("ssh", arguments...) //nolint:gosec,noctx // of the configuration; the connection outlives the request that dials it
		in, err := command.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := command.StdoutPipe()
		if err != nil {
			return nil, err
		}
		widen(out) // what has no room in the pipe waits in ssh, whose CPU time grows with it
		c := &processConn{command: command, in: in, out: out}
		command.Stderr, command.WaitDelay = &c.said, time.Second // a child of it may hold its streams open
		if err := command.Start(); err != nil {
			return nil, fmt.Errorf("start ssh: %w", err)
		}
		return c, nil
	}
}

// processConn is a connection over the standard streams of a process, which ends with it.
type processConn struct {
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
