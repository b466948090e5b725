package filetail

import (
	"errors"
	"syscall"
)

// outOfHandles says that the process has no more of them.
func outOfHandles(err error) bool {
	const tooManyOpenFiles = syscall.Errno(4)
	return errors.Is(err, tooManyOpenFiles)
}

// handleLimit is not limited by the system.
func handleLimit() int { return defaultHandles }
