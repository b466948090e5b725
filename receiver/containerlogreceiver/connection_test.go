//go:build unix

package containerlogreceiver

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// connected returns the two ends of a connection, the first as the receiver has it.
func connected(t *testing.T) (near *connection, far net.Conn, open *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer listener.Close()
	conn, err := net.Dial("unix", listener.Addr().String())
	require.NoError(t, err)
	far, err = listener.Accept()
	require.NoError(t, err)
	open = &atomic.Int64{}
	near = newConnection(conn, open)
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far, open
}

func TestCalmConnectionGivesEveryByteInOrder(t *testing.T) {
	near, far, _ := connected(t)
	want := make([]byte, 1<<20)
	_, _ = rand.Read(want)
	go func() {
		defer far.Close()
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+int(rest[0])*20)
			_, _ = far.Write(rest[:n])
			if rest[0] == 0 {
				time.Sleep(20 * mostPause) // the reader gives up looking
			}
			rest = rest[n:]
		}
	}()
	var got bytes.Buffer
	buf := make([]byte, 3000)
	for {
		if got.Len()%3 == 0 {
			near.calm()
		}
		n, err := near.Read(buf)
		got.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(want, got.Bytes()))
}

func TestCalmConnectionTellsWhetherMoreHasCome(t *testing.T) {
	near, far, _ := connected(t)
	for _, prepare := range []func(){func() {}, near.calm} {
		prepare()
		require.False(t, near.readable())
		_, err := far.Write([]byte("x"))
		require.NoError(t, err)
		require.True(t, near.readable())
		n, err := near.Read(make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.NoError(t, far.Close())
	require.True(t, near.readable(), "its end")
}

func TestCalmConnectionIsWrittenTo(t *testing.T) {
	near, far, _ := connected(t)
	near.calm()
	_, err := near.Write([]byte("request"))
	require.NoError(t, err)
	got := make([]byte, 7)
	_, err = io.ReadFull(far, got)
	require.NoError(t, err)
	require.Equal(t, "request", string(got))
}

func TestCloseEndsReadsOfAConnection(t *testing.T) {
	for name, prepare := range map[string]func(*connection){
		"that waits": func(*connection) {},
		"that looks": func(c *connection) { c.calm() },
		"that waits again": func(c *connection) {
			c.calm()
			_, _ = c.alert()
		},
	} {
		t.Run(name, func(t *testing.T) {
			near, far, open := connected(t)
			prepare(near)
			ended := make(chan error, 1)
			go func() {
				_, err := near.Read(make([]byte, 10))
				ended <- err
			}()
			require.EqualValues(t, 1, open.Load())
			require.NoError(t, near.Close())
			require.ErrorIs(t, <-ended, net.ErrClosed)
			require.Zero(t, open.Load())
			_, err := far.Read(make([]byte, 10))
			require.ErrorIs(t, err, io.EOF, "no descriptor is left open")
			_ = near.Close()
			near.calm()
			require.False(t, near.readable())
		})
	}
}

// A connection that is closed before the answer begins says nothing of the log, though the error is io.EOF.
func TestConnectionThatIsClosedBeforeTheAnswerIsNotTheEndOfALog(t *testing.T) {
	e := newFakeEngine(t, nil)
	c := e.run(&fakeContainer{status: breaks})
	config := createDefaultConfig().(*Config)
	config.Endpoint = e.host
	address, err := resolve(t.Context(), config)
	require.NoError(t, err)
	engine, err := newEngine(address)
	require.NoError(t, err)
	defer func() { require.NoError(t, engine.close()) }()
	s, err := engine.connect(t.Context())
	require.NoError(t, err)
	_, err = logs(t.Context(), s.streams, c.id, container.LogsOptions{ShowStdout: true})
	require.ErrorContains(t, err, "EOF")
	require.NotErrorIs(t, err, io.EOF)
}

// With the end of an answer its connection belongs to the next request.
func TestAnswerThatHasEndedTouchesNoConnection(t *testing.T) {
	near, far, _ := connected(t)
	body := &logBody{ReadCloser: io.NopCloser(strings.NewReader("")), conn: near}
	_, err := far.Write([]byte("the next answer"))
	require.NoError(t, err)
	require.True(t, body.arrived())
	_, err = body.Read(make([]byte, 10))
	require.ErrorIs(t, err, io.EOF)
	require.False(t, body.arrived())
	body.calm()
	require.Zero(t, near.raw)
}

// A process without a descriptor left cannot wake a connection; it goes on looking for what comes.
func TestCalmConnectionOutlivesALackOfDescriptors(t *testing.T) {
	near, far, _ := connected(t)
	near.calm()
	var limit unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	t.Cleanup(func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) })
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4, Max: limit.Max}))
	_, err := near.alert()
	require.ErrorIs(t, err, unix.EMFILE)
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 10)
		n, err := near.Read(buf)
		got <- fmt.Sprint(string(buf[:n]), err)
	}()
	for range 50 { // longer than it looks before it wants to be woken
		time.Sleep(mostPause)
		require.Empty(t, got)
	}
	_, err = far.Write([]byte("x"))
	require.NoError(t, err)
	require.Equal(t, "x<nil>", <-got)
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	_, err = near.alert()
	require.NoError(t, err)
	_, err = far.Write([]byte("y"))
	require.NoError(t, err)
	n, err := near.Read(make([]byte, 10))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// A line of the engine is a record of TLS.
func TestReadOfASecureConnectionGivesAllRecordsThatHaveCome(t *testing.T) {
	near, far, open := connected(t)
	dir := t.TempDir()
	newAuthority(t).write(dir, x509.ExtKeyUsageServerAuth)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	require.NoError(t, err)
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}})
	greeted := make(chan error, 1)
	go func() { greeted <- server.HandshakeContext(t.Context()) }()
	client, err := newSecure(t.Context(), near, &tls.Config{InsecureSkipVerify: true}, "engine:2376")
	require.NoError(t, err)
	require.NoError(t, <-greeted)

	read := func() (string, error) {
		buf := make([]byte, 4096)
		n, err := client.Read(buf)
		return string(buf[:n]), err
	}
	for range 2 {
		for range 100 {
			_, err := server.Write([]byte("x"))
			require.NoError(t, err)
		}
		got, err := read()
		require.NoError(t, err)
		require.Equal(t, strings.Repeat("x", 100), got)
		near.calm()
	}
	_, err = server.Write([]byte("last"))
	require.NoError(t, err)
	require.NoError(t, server.CloseWrite())
	got, err := read()
	require.Equal(t, "last", got)
	if err == nil {
		_, err = read()
	}
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, client.Close())
	require.Zero(t, open.Load())
}

func TestCalmConnectionsLeaveNoDescriptors(t *testing.T) {
	near, far, _ := connected(t)
	count := func() int {
		entries, err := os.ReadDir("/dev/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before := count()
	for range 100 {
		near.calm()
		_, err := near.alert()
		require.NoError(t, err)
	}
	require.LessOrEqual(t, count(), before+5, "other tests open some too")
	_, err := far.Write([]byte("x"))
	require.NoError(t, err)
	_, err = near.Read(make([]byte, 1))
	require.NoError(t, err)
}

// scriptSSH puts a script in the place of ssh.
func scriptSSH(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\n"+script), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// dialScript connects to a script in the place of ssh, as the receiver does it.
func dialScript(t *testing.T, script string) *connection {
	t.Helper()
	scriptSSH(t, script)
	conn, err := newSSHDialer(nil).start()
	require.NoError(t, err)
	near := newConnection(conn, &atomic.Int64{})
	t.Cleanup(func() { _ = near.Close() })
	return near
}

func TestConnectionThroughAProcessTellsWhetherMoreHasCome(t *testing.T) {
	near := dialScript(t, "exec cat")
	for _, prepare := range []func(){func() {}, near.calm} {
		prepare()
		require.False(t, near.readable())
		_, err := near.Write([]byte("x"))
		require.NoError(t, err)
		waitFor(t, "the echo", near.readable)
		n, err := near.Read(make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 1, n)
	}
	require.NoError(t, near.Close())
	require.False(t, near.readable())
}

// While lines gather, ssh shall not have to keep what comes.
func TestMuchHasRoomBetweenAProcessAndItsReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("a pipe has the size that the system gives it")
	}
	written := filepath.Join(t.TempDir(), "written")
	near := dialScript(t, "head -c 200000 /dev/zero && touch "+written+" && exec cat")
	waitFor(t, "the end of the writing", func() bool {
		_, err := os.Stat(written)
		return err == nil
	})
	got, err := io.ReadAll(io.LimitReader(near, 200_000))
	require.NoError(t, err)
	require.Len(t, got, 200_000)
}

// An sshd refuses some of those who log in where many do. The script imitates one that takes its time.
func TestFewLogInThroughSSHAtATime(t *testing.T) {
	dir := t.TempDir()
	scriptSSH(t, "cd "+dir+" && touch $$ && until [ -e open ]; do sleep 0.01; done && printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nOK' && exec cat")
	started := func() int {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		return len(entries)
	}
	d := newSSHDialer(nil)
	const n = 3 * sshStarts
	var dials errgroup.Group
	for range n {
		dials.Go(func() error {
			_, err := d.dial(t.Context(), "", "")
			return err
		})
	}
	waitFor(t, "the first", func() bool { return started() >= sshStarts })
	time.Sleep(100 * time.Millisecond) // more would come now
	require.Equal(t, sshStarts, started())
	writeFiles(t, dir, map[string][]byte{"open": nil})
	require.NoError(t, dials.Wait())
	require.Equal(t, n+1, started())
	d.close()
	require.Empty(t, d.processes)
	_, err := d.dial(t.Context(), "", "")
	require.ErrorIs(t, err, net.ErrClosed)
}

// One that hangs is ended when it was waited for long enough, or with the receiver.
func TestSSHThatHangsIsEnded(t *testing.T) {
	scriptSSH(t, "echo 'Confirm user presence' >&2; exec sleep 1000")
	processes := func(d *sshDialer) int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return len(d.processes)
	}
	t.Run("in time", func(t *testing.T) {
		d := newSSHDialer(nil)
		d.patience = 100 * time.Millisecond
		_, err := d.dial(t.Context(), "", "")
		require.ErrorContains(t, err, "timeout")
		require.Zero(t, processes(d))
	})
	t.Run("with the receiver", func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Endpoint = "ssh://far" })
		r.start()
		d := r.receiver.(*containerLog).follower.engine.ssh
		waitFor(t, "the process", func() bool { return processes(d) == 1 })
		r.stop()
		require.Zero(t, processes(d))
	})
}
