//go:build unix

package filetail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes a shared lock of an open file. The error is errNotYet while another has it locked for itself.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errNotYet
	}
	return err
}

// unlock gives the lock back; closing the file would too.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
