//go:build !unix

package containerlogreceiver

import (
	"io"
	"net"
)

// descriptor is not there: a batch is what one read gives.
type descriptor int

func describe(net.Conn) descriptor { return 0 }

func readable(io.Reader) bool { return false }

func (descriptor) readable() bool { return false }

func (descriptor) read([]byte) (int, error) { return 0, nil }

func (descriptor) conn() (net.Conn, error) { return nil, net.ErrClosed }

func (descriptor) close() error { return nil }
