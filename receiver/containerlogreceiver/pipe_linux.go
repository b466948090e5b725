package containerlogreceiver

import (
	"io"

	"golang.org/x/sys/unix"
)

// widen makes room in a pipe, where it is allowed. It is four times what a pipe has: the pipes of a user who is not root may have 64 MiB in
// all, and what is above that shrinks others.
func widen(pipe io.Reader) {
	withDescriptor(pipe, func(fd int) { _, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, 256<<10) }) //nolint:gosec // a descriptor
}
