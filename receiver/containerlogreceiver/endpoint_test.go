package containerlogreceiver

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configopaque"
	"go.opentelemetry.io/collector/config/configtls"
)

// Row 50: the rules of the Docker CLI.
func TestWhereTheEngineIs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	context := func(name, host string) {
		sum := sha256.Sum256([]byte(name))
		write("contexts/meta/"+hex.EncodeToString(sum[:])+"/meta.json", `{"Name":"`+name+`","Endpoints":{"docker":{"Host":"`+host+`"}}}`)
	}
	context("chosen", "unix:///chosen.sock")
	context("named", "tcp://named:2375")
	context("bad", "gopher://x")
	write("config.json", `{"currentContext":"chosen"}`)
	for name, tt := range map[string]struct{ config, dir, host, context, want string }{
		"nothing":                     {dir: t.TempDir(), want: "unix:///var/run/docker.sock"},
		"context that is in use":      {dir: dir, want: "unix:///chosen.sock"},
		"named context":               {dir: dir, context: "named", want: "tcp://named:2375"},
		"default context":             {dir: dir, context: "default", want: "unix:///var/run/docker.sock"},
		"DOCKER_HOST before contexts": {dir: dir, host: "tcp://host:1", context: "named", want: "tcp://host:1"},
		"configuration before all":    {config: "ssh://a@b", dir: dir, host: "tcp://host:1", want: "ssh://a@b"},
		"named pipe":                  {config: "npipe:////./pipe/docker_engine", dir: dir, want: "npipe:////./pipe/docker_engine"},
		"bad context":                 {dir: dir, context: "bad"},
		"no such context":             {dir: dir, context: "none"},
		"bad host":                    {dir: dir, host: "nonsense"},
	} {
		t.Setenv("DOCKER_CONFIG", tt.dir)
		t.Setenv("DOCKER_HOST", tt.host)
		t.Setenv("DOCKER_CONTEXT", tt.context)
		got, err := resolve(t.Context(), &Config{Endpoint: tt.config})
		require.Equal(t, tt.want == "", err != nil, "%s: %v", name, err)
		require.Equal(t, tt.want, got.host, name)
	}
}

// A named pipe is an engine on this host, and only Windows has them.
func TestNamedPipe(t *testing.T) {
	pipe, err := resolve(t.Context(), &Config{Endpoint: "npipe:////./pipe/docker_engine"})
	require.NoError(t, err)
	require.True(t, pipe.local())
	e, err := newEngine(pipe)
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, `"npipe:////./pipe/docker_engine"`)
		return
	}
	require.NoError(t, err)
	require.NoError(t, e.close())
}

// Row 50: a client certificate is asked for and given, wherever the address comes from.
func TestEngineBehindTLS(t *testing.T) {
	e := newFakeEngine(t, nil)
	server := httptest.NewUnstartedServer(e)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	key := keyOf(t, server)
	host := "tcp://" + server.Listener.Addr().String()
	files := map[string][]byte{"ca.pem": certificate, "cert.pem": certificate, "key.pem": key}
	configured := &configtls.ClientConfig{
		Config: configtls.Config{
			CAPem: configopaque.String(certificate), CertPem: configopaque.String(certificate), KeyPem: configopaque.String(key),
		},
		ServerName: "example.com",
	}
	certs, cli, contexts := t.TempDir(), t.TempDir(), t.TempDir()
	writeFiles(t, certs, files)
	writeFiles(t, cli, files)
	sum := sha256.Sum256([]byte("far"))
	id := hex.EncodeToString(sum[:])
	writeFiles(t, filepath.Join(contexts, "contexts", "tls", id, "docker"), files)
	writeFiles(t, filepath.Join(contexts, "contexts", "meta", id), map[string][]byte{
		"meta.json": []byte(`{"Name":"far","Endpoints":{"docker":{"Host":"` + host + `"}}}`),
	})
	for name, tt := range map[string]struct {
		endpoint string
		tls      *configtls.ClientConfig
		env      map[string]string
	}{
		"key":                             {host, configured, nil},
		"key with DOCKER_HOST":            {"", configured, map[string]string{"DOCKER_HOST": host}},
		"DOCKER_CERT_PATH":                {"", nil, map[string]string{"DOCKER_HOST": host, "DOCKER_CERT_PATH": certs, "DOCKER_TLS_VERIFY": "1"}},
		"DOCKER_CERT_PATH, not verified":  {"", nil, map[string]string{"DOCKER_HOST": host, "DOCKER_CERT_PATH": certs}},
		"DOCKER_TLS_VERIFY alone":         {"", nil, map[string]string{"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CONFIG": cli}},
		"context with files":              {"", nil, map[string]string{"DOCKER_CONTEXT": "far", "DOCKER_CONFIG": contexts}},
		"https in DOCKER_HOST with a key": {"", configured, map[string]string{"DOCKER_HOST": "https" + strings.TrimPrefix(host, "tcp")}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "DOCKER_CONTEXT"} {
				t.Setenv(variable, tt.env[variable])
			}
			t.Setenv("DOCKER_CONFIG", tt.env["DOCKER_CONFIG"])
			r := newRig(t, nil)
			r.config.Endpoint, r.config.TLS, r.config.Include = tt.endpoint, tt.tls, MatchConfig{}
			require.NoError(t, r.config.Validate())
			r.start()
			c := e.run(&fakeContainer{})
			e.write(c, "x")
			r.awaitLines(c.id, 1)
			e.end(c, "exited")
			r.stop()
		})
	}
}

func writeFiles(t *testing.T, directory string, files map[string][]byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(directory, 0o700))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), content, 0o600))
	}
}

// Row 50: ssh is imitated by a program of that name that connects to the socket that its arguments name.
func TestEngineThroughSSH(t *testing.T) {
	arguments, err := sshArguments("ssh://me@far:2222/run/user/1000/docker.sock")
	require.NoError(t, err)
	require.Equal(t, "-T -o BatchMode=yes -o ConnectTimeout=30 -o ClearAllForwardings=yes -o ServerAliveInterval=30 -l me -p 2222 -- far docker --host unix:///run/user/1000/docker.sock system dial-stdio", strings.Join(arguments, " "))
	for _, bad := range []string{"ssh://", "ssh://a:secret@b"} {
		require.Error(t, checkEndpoint(bad), bad)
	}

	e := newFakeEngine(t, nil)
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	starts := t.TempDir()
	script := "#!/bin/sh\ntouch " + starts + "/$$\nfor last in \"$@\"; do case $last in unix://*) socket=${last#unix://};; esac; done\nCTR_DIAL=$socket exec " + self + " -test.run=^TestDialStdio$\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	r := newFakeRig(t, e, func(c *Config) { c.Endpoint = "ssh://far" + strings.TrimPrefix(e.host, "unix://") })
	const containers = 10
	var all []*fakeContainer
	for range containers {
		c := e.run(&fakeContainer{})
		e.write(c, "x")
		all = append(all, c)
	}
	r.start()
	for _, c := range all {
		r.awaitLines(c.id, 1)
	}
	require.GreaterOrEqual(t, r.metric("logcapture_daemon_connections"), int64(containers+1))
	processes, err := os.ReadDir(starts)
	require.NoError(t, err)
	require.LessOrEqual(t, len(processes), containers+1+sshCalls, "one for each log, one for the events, and some for all else")
	r.stop()
	for _, process := range processes {
		pid, err := strconv.Atoi(process.Name())
		require.NoError(t, err)
		left, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.Error(t, left.Signal(syscall.Signal(0)), "it is gone with the receiver")
	}
}

// What ssh says is the reason, and not that its streams have ended. The script imitates its refusal of an unknown host.
func TestWhatSSHSaysIsTold(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nhead -c 5000 /dev/zero | tr '\\0' x >&2\necho 'Host key verification failed.' >&2\nexit 255\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o700)) //nolint:gosec // a program
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	r := newRig(t, func(c *Config) { c.Endpoint = "ssh://far" })
	r.start()
	waitFor(t, "the reason in the status", func() bool {
		last := r.host.Last()
		return last != nil && last.Err() != nil && strings.Contains(last.Err().Error(), "Host key verification failed.")
	})
	require.Less(t, len(r.host.Last().Err().Error()), 2000)
	r.stop()
}

// TestDialStdio is run as a child by the test above: it connects its standard streams with a socket.
func TestDialStdio(t *testing.T) {
	path := os.Getenv("CTR_DIAL")
	if path == "" {
		return
	}
	conn, err := net.DialTimeout("unix", path, time.Minute)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		copyAll(conn, os.Stdin)
		os.Exit(0)
	}()
	copyAll(os.Stdout, conn)
	os.Exit(0)
}

func copyAll(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from) }

// keyOf returns the server's key as PEM: the client shows the same certificate.
func keyOf(t *testing.T, server *httptest.Server) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
