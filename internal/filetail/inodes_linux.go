package filetail

import (
	"encoding/binary"
	"io/fs"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inodes lists the names in a directory by inode, without a look at each file. The first name wins.
func inodes(dir string) (map[uint64]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names := make(map[uint64]string)
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.ReadDirent(int(f.Fd()), buf)
		if err != nil {
			return nil, &fs.PathError{Op: "readdirent", Path: dir, Err: err}
		}
		if n <= 0 {
			return names, nil
		}
		for rest := buf[:n]; len(rest) > 0; {
			const head = int(unsafe.Offsetof(unix.Dirent{}.Name))
			size := int(binary.NativeEndian.Uint16(rest[unsafe.Offsetof(unix.Dirent{}.Reclen):]))
			inode := binary.NativeEndian.Uint64(rest[unsafe.Offsetof(unix.Dirent{}.Ino):])
			name := unix.ByteSliceToString(rest[head:size])
			if _, ok := names[inode]; !ok && name != "." && name != ".." {
				names[inode] = name
			}
			rest = rest[size:]
		}
	}
}

// pathOf returns where an open file is now, empty where that is not known or the file is deleted.
func pathOf(f *os.File) string {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return ""
	}
	return path
}
