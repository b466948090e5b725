package filetail

import (
	"os"

	"golang.org/x/sys/unix"
)

// bornOf returns when an open file was created, in nanoseconds, 0 where the file system does not tell. A new file under the id of an old
// one is told by it.
func bornOf(handle *os.File) int64 {
	born, _ := statx(int(handle.Fd()), "", unix.AT_EMPTY_PATH)
	return born
}

// bornAt is bornOf for a file that is not open; 0 also where the path leads to another file by now.
func bornAt(path string, of id) int64 {
	born, inode := statx(unix.AT_FDCWD, path, 0)
	if inode != of.inode {
		return 0
	}
	return born
}

// statx asks for both at once: between two questions another file could come to the path.
func statx(dir int, path string, flags int) (born int64, inode uint64) {
	const want = unix.STATX_BTIME | unix.STATX_INO
	var stat unix.Statx_t
	if unix.Statx(dir, path, flags, want, &stat) != nil || stat.Mask&want != want {
		return 0, 0
	}
	return stat.Btime.Sec*1e9 + int64(stat.Btime.Nsec), stat.Ino
}
