package filetail

import (
	"path/filepath"
	"strings"
)

// family returns the path of the log that a file is a generation of by its name: without the numbers, dates and endings of compression
// that rotation adds. A log that is not rotated is its own family.
func family(path string) string {
	dir, name := filepath.Split(path)
	for {
		ext := filepath.Ext(name)
		if ext == name || ext == "" || !compressedExt(ext) && !generation(ext[1:]) {
			break
		}
		name = strings.TrimSuffix(name, ext)
	}
	ext := filepath.Ext(name)
	base := strings.TrimSuffix(name, ext)
	if e, date, ok := cutDate(ext); ok && date != "" { // app.log-20240131
		return dir + base + e
	}
	if b, _, ok := cutDate(base); ok && b != "" { // app-20240131.log
		return dir + b + ext
	}
	return dir + name
}

func compressedExt(ext string) bool {
	switch ext {
	case ".gz", ".zst", ".bz2", ".xz":
		return true
	}
	return false
}

// generation says that a suffix is a number or a date.
func generation(suffix string) bool {
	return suffix != "" && strings.Trim(suffix, "0123456789-_T:") == "" && strings.ContainsAny(suffix, "0123456789")
}

// cutDate splits a date of at least eight digits from the end of a name.
func cutDate(name string) (rest, date string, ok bool) {
	rest = strings.TrimRight(name, "0123456789-_T:")
	date = name[len(rest):]
	digits := 0
	for _, c := range date {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return rest, date, digits >= 8 && (date[0] == '-' || date[0] == '_')
}
