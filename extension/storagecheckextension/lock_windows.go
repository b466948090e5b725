package storagecheckextension

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock takes the lock that bbolt takes, on the byte that it takes it on, beside other readers, until the file is closed.
func lock(f *os.File) error {
	last := windows.Overlapped{Offset: 1<<32 - 1, OffsetHigh: 1<<32 - 1}
	if windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &last) != nil {
		return errInUse
	}
	return nil
}
