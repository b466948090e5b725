//go:build unix

package filetail

import (
	"os"
	"syscall"
)

// idOf returns the id of an open file.
func idOf(_ *os.File, info os.FileInfo) (id, error) {
	stat := info.Sys().(*syscall.Stat_t)
	return id{uint64(stat.Dev), stat.Ino}, nil //nolint:unconvert // the types differ between systems
}

// unlinked says that no path leads to the file any more.
func unlinked(info os.FileInfo) bool { return info.Sys().(*syscall.Stat_t).Nlink == 0 }

// idOfPath returns the id of the file at a path, without opening it.
func idOfPath(_ string, info os.FileInfo) (id, error) { return idOf(nil, info) }
