//go:build unix

package containerlogreceiver

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptor is an open socket that Go's poller does not know of; 0 is none.
type descriptor int

// describe returns another descriptor of a connection, 0 where it has none.
func describe(conn net.Conn) (d descriptor) {
	withDescriptor(conn, func(fd int) {
		if other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3); err == nil {
			d = descriptor(other)
		}
	})
	return d
}

// readable says that a read of the connection, or of the pipe, would not wait.
func readable(conn io.Reader) (has bool) {
	withDescriptor(conn, func(fd int) { has = descriptor(fd).readable() })
	return has
}

func withDescriptor(conn io.Reader, do func(fd int)) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) }) //nolint:gosec // a descriptor; of one that is closed there is nothing to know
	}
}

func (d descriptor) readable() bool {
	poll := []unix.PollFd{{Fd: int32(d), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

// read returns 0 and no error where there is nothing to read now.
func (d descriptor) read(p []byte) (int, error) {
	n, err := unix.Read(int(d), p)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// conn makes a connection of it again, that is, gives it back to Go's poller. For that moment it takes two descriptors more; where there are
// none, it stays as it is.
func (d descriptor) conn() (net.Conn, error) {
	other, err := unix.FcntlInt(uintptr(d), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(other), "engine")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err == nil {
		_ = d.close() // it goes on by the other one
	}
	return conn, err
}

func (d descriptor) close() error { return unix.Close(int(d)) }
