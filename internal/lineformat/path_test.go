package lineformat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPathsOfKubernetes(t *testing.T) {
	const uid = "49cc7c1f-d370-11ed-9c3f-0242ac120002"
	id := strings.Repeat("0123456789abcdef", 4)
	pod := KubernetesFile{Namespace: "default", Pod: "web-7d4b", UID: uid, Container: "nginx", RestartCount: 3}
	link := KubernetesFile{Namespace: "default", Pod: "web-7d4b", Container: "my-nginx", ContainerID: id, RestartCount: -1}
	for path, want := range map[string]KubernetesFile{
		"/var/log/pods/default_web-7d4b_" + uid + "/nginx/3.log":                    pod,
		"/var/log/pods/default_web-7d4b_" + uid + "/nginx/3.log.20230622-102725":    pod,
		"/var/log/pods/default_web-7d4b_" + uid + "/nginx/3.log.20230622-102725.gz": pod,
		`C:\var\log\pods\default_web-7d4b_` + uid + `\nginx\3.log`:                  pod,
		"/var/log/containers/web-7d4b_default_my-nginx-" + id + ".log":              link,
	} {
		got, ok := ParseKubernetesPath(path)
		require.True(t, ok, path)
		require.Equal(t, want, got, path)
	}
	for _, path := range []string{
		"", "/", "app.log", "/var/log/app_1_2/x/0.log", "/var/log/pods/a_b_" + uid + "/c/x.log", "/var/log/pods/a_b_" + uid + "/c/0.txt",
		"/var/log/pods/_b_" + uid + "/c/0.log", "/var/log/containers/a_b_c.log", "/var/log/containers/a_b_c-1234.log",
		"/var/log/containers/a_b_-" + id + ".log", "/var/log/containers/b_c-" + id + ".log",
	} {
		_, ok := ParseKubernetesPath(path)
		require.False(t, ok, path)
	}
}
