//go:build unix && !solaris && !aix

package storagecheckextension

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that bbolt takes, beside other readers, until the file is closed.
func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errInUse
	}
	return err
}
