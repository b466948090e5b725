package filetail

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPatternsMatchPathByPath(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          bool
	}{
		{"/var/log/*.log", "/var/log/a.log", true},
		{"/var/log/*.log", "/var/log/sub/a.log", false},
		{"/var/log/syslog", "/var/log/syslog", true},
		{"/var/log/**/*.log", "/var/log/a.log", true},
		{"/var/log/**/*.log", "/var/log/1/2/3/4/5/a.log", true},
		{"/var/log/**", "/var/log/1/2/anything", true},
		{"/var/**/x/**/*.log", "/var/1/x/2/3/a.log", true},
		{"/var/**/x/**/*.log", "/var/1/y/2/3/a.log", false},
		{"/var/log/{a,b}*.log", "/var/log/b1.log", true},
		{"/var/log/{a,b/c}.log", "/var/log/b/c.log", true},
		{"/var/log/{a,b/c}.log", "/var/log/b.log", false},
		{"/{a,b/{c,d/e}}/x", "/b/d/e/x", true},
		{"/var/*/[ab]?.log", "/var/x/a1.log", true},
		{"logs/*.log", "logs/a.log", true},
		{"./logs//*.log", "logs/a.log", true},
	} {
		t.Run(tt.pattern+" "+tt.path, func(t *testing.T) {
			require.Equal(t, tt.want, matches(newPatterns(tt.pattern), tt.path))
		})
	}
}

// matches goes down the path as discovery goes down the directories.
func matches(patterns []*pattern, path string) bool {
	var states []state
	for _, p := range patterns {
		if (p.root != "") == (path[0] == '/') {
			states = append(states, state{p, 0})
		}
	}
	names := newPatterns(path)[0].segments
	for i, name := range names {
		files, inner := match(states, name)
		if i == len(names)-1 {
			return len(files) > 0
		}
		states = inner
	}
	return false
}

func TestMarkersDifferByPatternAndExclusions(t *testing.T) {
	a, b := newPatterns("/a/*.log")[0], newPatterns("/b/*.log")[0]
	require.NotEqual(t, a.marker(nil), b.marker(nil))
	require.NotEqual(t, a.marker(nil), a.marker([]string{"/a/x.log"}))
	require.Equal(t, a.marker(nil), newPatterns("/a/*.log")[0].marker(nil))
}
