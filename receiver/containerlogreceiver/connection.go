package containerlogreceiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
)

// connection is one to the engine. It takes itself off the count when it is closed. It is safe for concurrent use, as a [net.Conn] is.
//
// One on which many small pieces come can be made calm: then the kernel does not tell of them. Else it wakes Go's poller for each, also
// while nobody waits for it, and that costs more than reading it does.
type connection struct {
	open   *atomic.Int64
	closed chan struct{}

	mu       sync.Mutex // guards below
	conn     net.Conn   // closed while the connection is calm
	raw      descriptor // then: the connection; 0: it is not calm
	isClosed bool
}

func newConnection(conn net.Conn, open *atomic.Int64) *connection {
	open.Add(1)
	return &connection{conn: conn, open: open, closed: make(chan struct{})}
}

func (c *connection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isClosed {
		c.isClosed = true
		close(c.closed)
		c.open.Add(-1)
	}
	if c.raw != 0 {
		raw := c.raw
		c.raw = 0
		return raw.close()
	}
	return c.conn.Close()
}

// Read looks again and again while the connection is calm, until it has been quiet for some time.
func (c *connection) Read(p []byte) (int, error) {
	const (
		quiet = 16 // looks
		pause = 2 * time.Millisecond
		long  = 50 * time.Millisecond
	)
	for looks := 1; ; looks++ {
		n, calm, err := c.readCalm(p)
		if n > 0 || err != nil {
			return n, err
		}
		wait := pause
		if !calm || looks > quiet {
			conn, err := c.alert()
			if err == nil {
				return conn.Read(p)
			}
			wait = long // the process has no descriptor left: nothing is lost by looking on
		}
		select {
		case <-c.closed:
		case <-time.After(wait):
		}
	}
}

func (c *connection) readCalm(p []byte) (n int, calm bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == 0 {
		return 0, false, nil
	}
	n, err = c.raw.read(p)
	return n, true, err
}

func (c *connection) Write(p []byte) (int, error) {
	conn, err := c.alert()
	if err != nil {
		return 0, err
	}
	return conn.Write(p)
}

// LocalAddr is that of the connection.
func (c *connection) LocalAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.LocalAddr()
}

// RemoteAddr is that of the connection.
func (c *connection) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.RemoteAddr()
}

// SetDeadline ends the calm: nothing watches the time of a calm connection.
func (c *connection) SetDeadline(t time.Time) error { return c.deadline(net.Conn.SetDeadline, t) }

// SetReadDeadline is as SetDeadline.
func (c *connection) SetReadDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetReadDeadline, t)
}

// SetWriteDeadline is as SetDeadline.
func (c *connection) SetWriteDeadline(t time.Time) error {
	return c.deadline(net.Conn.SetWriteDeadline, t)
}

func (c *connection) deadline(set func(net.Conn, time.Time) error, t time.Time) error {
	conn, err := c.alert()
	if err != nil {
		return err
	}
	return set(conn, t)
}

// calm has the kernel tell nobody what comes. Where that cannot be done, it goes on as before.
func (c *connection) calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw != 0 || c.isClosed {
		return
	}
	if raw := describe(c.conn); raw != 0 {
		c.raw = raw
		_ = c.conn.Close() // it goes on by the other descriptor
	}
}

// alert ends that, and returns what is read from and written to.
func (c *connection) alert() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == 0 {
		return c.conn, nil
	}
	conn, err := c.raw.conn()
	if err != nil {
		return nil, fmt.Errorf("wait on a connection: %w", err)
	}
	c.raw, c.conn = 0, conn
	return conn, nil
}

// readable says that a Read would not wait. It is false where that cannot be told.
func (c *connection) readable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw != 0 {
		return c.raw.readable()
	}
	if process, ok := c.conn.(*processConn); ok {
		return readable(process.out)
	}
	return readable(c.conn)
}

// logBody is the answer to a logs request. It is used by one goroutine at a time.
type logBody struct {
	io.ReadCloser
	conn *connection // nil: not known
}

// Read gives up the connection with the end of the answer: it belongs to the next request then.
func (b *logBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.conn = nil
	}
	return n, err
}

// calm says that much comes.
func (b *logBody) calm() {
	if b.conn != nil {
		b.conn.calm()
	}
}

// arrived says that more of the answer has come than was read, or its end.
func (b *logBody) arrived() bool { return b.conn != nil && b.conn.readable() }

// logs opens the log of a container, by a client of the session. The body ends when ctx does.
func logs(ctx context.Context, cli *client.Client, id string, options container.LogsOptions) (*logBody, error) {
	body := &logBody{}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		conn := got.Conn
		switch secured := conn.(type) {
		case *secure:
			conn = secured.in.connection
		case *tls.Conn: // through a proxy
			conn = secured.NetConn()
		}
		body.conn, _ = conn.(*connection)
	}})
	var err error
	if body.ReadCloser, err = cli.ContainerLogs(ctx, id, options); err != nil {
		if errors.Is(err, io.EOF) { // of the connection: it says nothing of the log
			err = fmt.Errorf("ask for a log: %v", err) //nolint:errorlint // not to be taken for its end
		}
		return nil, err
	}
	return body, nil
}
