package filetail

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// first waits for records and returns the attributes of the first one.
func (x *tail) first(records int) (record, resource map[string]any) {
	x.t.Helper()
	capturetest.WaitFor(x.t, "the records", func() bool { return x.consumer.Len() >= records })
	r := x.consumer.Records()[0]
	return r.Log.Attributes().AsRaw(), r.Resource
}

func TestAttributesOfTheFile(t *testing.T) {
	me, err := user.Current()
	require.NoError(t, err)
	group, err := user.LookupGroupId(me.Gid)
	require.NoError(t, err)
	for _, onResource := range []bool{false, true} {
		x := newTail(t)
		require.NoError(t, os.Mkdir(x.path("real"), 0o700))
		x.write("real/target.txt", "one\n")
		require.NoError(t, os.Symlink(x.path("real/target.txt"), x.path("link.log")))
		x.settings.FileAttributes = FileAttributes{
			Name: true, Path: true, NameResolved: true, PathResolved: true, OwnerName: true, OwnerGroupName: true, Permissions: true,
			FileOnResource: onResource,
		}
		x.run()
		record, resource := x.first(1)
		resolved, err := filepath.EvalSymlinks(x.path("real/target.txt"))
		require.NoError(t, err)
		want := map[string]any{
			"log.file.name": "link.log", "log.file.path": x.path("link.log"),
			"log.file.name_resolved": "target.txt", "log.file.path_resolved": resolved,
			"log.file.owner.name": me.Username, "log.file.owner.group.name": group.Name, "log.file.permissions": "600",
		}
		if onResource {
			require.Equal(t, want, resource)
			require.Empty(t, record)
		} else {
			require.Equal(t, want, record)
			require.Empty(t, resource)
		}
		x.stop()
	}
}

// A name may be any bytes, a string of OTLP may not.
func TestNameThatIsNoText(t *testing.T) {
	for _, onResource := range []bool{false, true} {
		x := newTail(t)
		if err := os.WriteFile(x.path("caf\xe9.log"), []byte("one\n"), 0o600); err != nil {
			t.Skipf("this file system has no such names: %v", err)
		}
		x.settings.FileAttributes = FileAttributes{Name: true, FileOnResource: onResource}
		x.run()
		record, resource := x.first(1)
		if onResource {
			record = resource
		}
		require.Equal(t, map[string]any{"log.file.name": "caf\ufffd.log"}, record)
		x.stop()
	}
}

func TestNumbersAndOffsetsGoOnAfterARestart(t *testing.T) {
	x := newTail(t)
	x.settings.FileAttributes = FileAttributes{RecordNumber: true, RecordOffset: true}
	x.write("a.log", "one\r\ntwo\n")
	x.run().want("one", "two")
	x.stop()
	x.write("a.log", "three\n")
	x.run().want("one", "two", "three")
	for i, offset := range []int64{0, 5, 9} {
		require.Equal(t, map[string]any{"log.file.record_number": int64(i + 1), "log.file.record_offset": offset},
			x.consumer.Records()[i].Log.Attributes().AsRaw())
	}
}

func TestNameStaysWhenTheFileIsRotatedInThePattern(t *testing.T) {
	x := newTail(t)
	x.settings.Include = []string{x.path("*.log*")}
	x.write("a.log", "one\n")
	x.run().want("one")
	x.rename("a.log", "a.log.1")
	x.settled()
	x.write("a.log.1", "two\n")
	x.want("one", "two")
	x.stop()
	x.write("a.log.1", "three\n")
	x.run().want("one", "two", "three")
	for _, r := range x.consumer.Records() {
		require.Equal(t, map[string]any{"log.file.name": "a.log"}, r.Log.Attributes().AsRaw())
	}
}

func TestFixedAttributes(t *testing.T) {
	x := newTail(t)
	x.settings.FileAttributes = FileAttributes{
		Record: map[string]any{"team": "a", "level": 3}, Resource: map[string]any{"service.name": "web", "tags": []any{"x", "y"}},
	}
	x.write("a.log", "one\n")
	x.run()
	record, resource := x.first(1)
	require.Equal(t, map[string]any{"team": "a", "level": int64(3)}, record)
	require.Equal(t, map[string]any{"service.name": "web", "tags": []any{"x", "y"}}, resource)
}

func TestAttributesOfPodsFromThePath(t *testing.T) {
	x := newTail(t)
	const dir = "pods/default_web-7d4b_49cc7c1f-d370-11ed-9c3f-0242ac120002/nginx"
	require.NoError(t, os.MkdirAll(x.path(dir), 0o700))
	x.settings.Include = []string{x.path("pods/*/*/*.log")}
	x.settings.Text.Format = lineformat.Auto
	x.settings.FileAttributes = FileAttributes{Kubernetes: true, Resource: map[string]any{"host.name": "h"}}
	x.write(dir+"/3.log", cri("stderr", "F", "one"))
	x.run()
	record, resource := x.first(1)
	require.Equal(t, map[string]any{"log.iostream": "stderr"}, record)
	require.Equal(t, map[string]any{
		"host.name": "h", "k8s.namespace.name": "default", "k8s.pod.name": "web-7d4b", "k8s.pod.uid": "49cc7c1f-d370-11ed-9c3f-0242ac120002",
		"k8s.container.name": "nginx", "k8s.container.restart_count": int64(3),
	}, resource)
}

func TestAttributesByAPatternOfThePath(t *testing.T) {
	x := newTail(t)
	require.NoError(t, os.MkdirAll(x.path("shop/web"), 0o700))
	x.settings.Include = []string{x.path("*/*/*.log")}
	for _, text := range []string{x.path("{service.namespace}.other"), x.dir + "/{service.namespace}/{service.name}/*.log"} {
		p, err := NewPathPattern(text)
		require.NoError(t, err)
		x.settings.FileAttributes.Patterns = append(x.settings.FileAttributes.Patterns, p)
	}
	x.write("shop/web/a.log", "one\n")
	x.run()
	_, resource := x.first(1)
	require.Equal(t, map[string]any{"service.namespace": "shop", "service.name": "web"}, resource)
}

func TestPathPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          map[string]string // nil for no match
	}{
		{"/srv/{a}/{b}.log", "/srv/x/y.log", map[string]string{"a": "x", "b": "y"}},
		{"/srv/{a}/{b}.log", "/srv/x/y/z.log", nil},
		{"/srv/{a}.log", "/other/srv/x.log", nil},
		{"**/{a}_{b}_{c}/*", "/1/2/ns_pod_uid_x/0.log", map[string]string{"a": "ns", "b": "pod", "c": "uid_x"}},
		{`**/{n:\d{1,3}}.log`, "/x/042.log", map[string]string{"n": "042"}},
		{`**/{n:(a|b)+}-{m}.log`, "/x/abba-1.log", map[string]string{"n": "abba", "m": "1"}},
		{"/a.b/{x}", "/aXb/c", nil},
		{"/a/**/{x}.log", "/a/b.log", map[string]string{"x": "b"}},
		{"/a/**/{x}.log", "/a/1/2/b.log", map[string]string{"x": "b"}},
		{"/a/{x}/**", "/a/1/2/b.log", map[string]string{"x": "1"}},
	} {
		p, err := NewPathPattern(tt.pattern)
		require.NoError(t, err, tt.pattern)
		got := map[string]string{}
		ok := p.match(tt.path, func(name, value string) { got[name] = value })
		require.Equal(t, tt.want != nil, ok, "%s %s", tt.pattern, tt.path)
		if ok {
			require.Equal(t, tt.want, got)
		}
	}
	for _, pattern := range []string{"", "/srv/*.log", "/srv/{a", "/srv/{}", "/srv/{:x}", "/srv/{a:(}"} {
		_, err := NewPathPattern(pattern)
		require.Error(t, err, pattern)
	}
}
