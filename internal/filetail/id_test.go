package filetail

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// identify returns the id of the file at a path in both ways, which have to agree.
func identify(t *testing.T, path string) id {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	opened, err := idOf(f, info)
	require.NoError(t, err)
	info, err = os.Stat(path)
	require.NoError(t, err)
	named, err := idOfPath(path, info)
	require.NoError(t, err)
	require.Equal(t, opened, named, "the id of an open file and that of its path")
	return opened
}

// TestIdentityOfFiles is what everything else rests on, and is the same on each system.
func TestIdentityOfFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path(name), []byte(text), 0o600))
	}
	write("a.log", "one\n")
	first := identify(t, path("a.log"))
	require.NotZero(t, first.inode)

	write("a.log", "one\ntwo\n")
	require.Equal(t, first, identify(t, path("a.log")), "more text")
	require.NoError(t, os.Rename(path("a.log"), path("a.log.1")))
	require.Equal(t, first, identify(t, path("a.log.1")), "renamed")
	require.NoError(t, os.Link(path("a.log.1"), path("link.log")))
	require.Equal(t, first, identify(t, path("link.log")), "a hard link")
	require.NoError(t, os.Truncate(path("a.log.1"), 0))
	require.Equal(t, first, identify(t, path("a.log.1")), "truncated")

	write("a.log", "one\ntwo\n")
	second := identify(t, path("a.log"))
	require.NotEqual(t, first, second, "the same text in a new file")
	require.Equal(t, first.device, second.device)
	require.NoError(t, os.Rename(path("a.log"), path("a.log.1")))
	require.Equal(t, second, identify(t, path("a.log.1")), "renamed over another")
	require.Equal(t, first, identify(t, path("link.log")), "what it replaced")

	require.NoError(t, os.Mkdir(path("d"), 0o700))
	known := identify(t, path("d"))
	require.NotEqual(t, first, known, "a directory")
	require.NoError(t, os.Rename(path("d"), path("e")))
	require.Equal(t, known, identify(t, path("e")), "a renamed directory")

	info, err := os.Stat(path("a.log.1"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(path("a.log.1")))
	if _, err := idOfPath(path("a.log.1"), info); err != nil { // where it has to be opened
		require.ErrorIs(t, err, os.ErrNotExist)
	}
}

func TestUnlinkedFileIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	require.False(t, unlinked(info))
	if os.Remove(path) != nil {
		return // the system keeps the path of a file that is open
	}
	info, err = f.Stat()
	require.NoError(t, err)
	require.Equal(t, os.Getenv("OS") != "Windows_NT", unlinked(info))
}
