//go:build unix

package filetail

import (
	"errors"
	"syscall"
)

// outOfHandles says that the process or the system has no more of them.
func outOfHandles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// handleLimit is half of what the process may open, the rest is for others; at least 64.
func handleLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return defaultHandles
	}
	return int(max(64, min(uint64(limit.Cur)/2, 1<<20))) //nolint:unconvert // the type differs between systems
}
