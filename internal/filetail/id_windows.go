package filetail

import (
	"os"

	"golang.org/x/sys/windows"
)

// idOf returns the volume and file index of an open file.
func idOf(f *os.File, _ os.FileInfo) (id, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return id{}, &os.PathError{Op: "GetFileInformationByHandle", Path: f.Name(), Err: err}
	}
	return id{uint64(info.VolumeSerialNumber), uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}, nil
}

// unlinked is false: Windows keeps the path of a file that is open.
func unlinked(os.FileInfo) bool { return false }

// idOfPath returns the id of the file at a path. Windows tells it of an open file only.
func idOfPath(path string, info os.FileInfo) (id, error) {
	f, err := os.Open(path)
	if err != nil {
		return id{}, err
	}
	defer f.Close()
	return idOf(f, info)
}
