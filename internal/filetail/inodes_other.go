//go:build !linux

package filetail

import (
	"os"
	"path/filepath"
)

// inodes lists the names of the files in a directory by inode. The first name wins.
func inodes(dir string) (map[uint64]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make(map[uint64]string)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		known, err := idOfPath(filepath.Join(dir, entry.Name()), info)
		if _, ok := names[known.inode]; !ok && err == nil {
			names[known.inode] = entry.Name()
		}
	}
	return names, nil
}

// pathOf is not known.
func pathOf(*os.File) string { return "" }
