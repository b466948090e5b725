package containerlogreceiver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
)

// secure is a connection with TLS whose reads give all that has come, as those of others do. A read of a [tls.Conn] gives what is in one
// record, and an engine makes a record of each line: who waits for lines to gather would wait for each.
type secure struct {
	*tls.Conn
	in *arrivals
}

func newSecure(ctx context.Context, conn *connection, config *tls.Config, addr string) (*secure, error) {
	if config.ServerName == "" {
		config = config.Clone()
		var err error
		if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	in := &arrivals{connection: conn, buffer: bufio.NewReaderSize(conn, readBuffer)}
	s := &secure{Conn: tls.Client(in, config), in: in}
	if err := s.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// Read waits for the first record only. It is called by one goroutine at a time.
func (s *secure) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil {
		return n, err
	}
	s.in.only = true
	defer func() { s.in.only = false }()
	for n < len(p) {
		more, err := s.Conn.Read(p[n:])
		n += more
		if errors.Is(err, errNotYet) {
			break
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// errNotYet is temporary as a timeout is: a [tls.Conn] can be read on after it.
var errNotYet = os.ErrDeadlineExceeded

// arrivals is the connection below TLS.
type arrivals struct {
	*connection
	buffer *bufio.Reader
	only   bool // what is in the buffer is to be read, and nothing waited for
}

func (a *arrivals) Read(p []byte) (int, error) {
	if a.only && a.buffer.Buffered() == 0 {
		return 0, errNotYet
	}
	return a.buffer.Read(p)
}
