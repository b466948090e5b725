package filetail

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFamilyOfRotatedNames(t *testing.T) {
	for path, want := range map[string]string{
		"/l/a.log":                      "/l/a.log",
		"/l/a.log.1":                    "/l/a.log",
		"/l/a.log.12.gz":                "/l/a.log",
		"/l/a.log-20240131":             "/l/a.log",
		"/l/a.log-20240131.gz":          "/l/a.log",
		"/l/a-20240131.log":             "/l/a.log",
		"/l/a-2024-01-31T10-00.log.zst": "/l/a.log",
		"/l/0.log.20240131-101112":      "/l/0.log",
		"/l/0.log.20240131-101112.gz":   "/l/0.log",
		"/l/app-1.log":                  "/l/app-1.log",
		"/l/messages":                   "/l/messages",
		"/l/messages.1":                 "/l/messages",
		"/l/.1":                         "/l/.1",
		"a.log.1":                       "a.log",
		"/l/20240131.log":               "/l/20240131.log",
	} {
		require.Equal(t, want, family(path), path)
	}
}
