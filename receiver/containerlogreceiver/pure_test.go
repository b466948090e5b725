package containerlogreceiver

import (
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/config/configtls"
)

func TestImageNames(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0f", 32)
	for reference, want := range map[string][2]string{
		"nginx":                             {"nginx", "latest"},
		"nginx:1.27":                        {"nginx", "1.27"},
		"library/nginx":                     {"library/nginx", "latest"},
		"registry.example:5000/a/b":         {"registry.example:5000/a/b", "latest"},
		"registry.example:5000/a/b:v2":      {"registry.example:5000/a/b", "v2"},
		"localhost:5000/b":                  {"localhost:5000/b", "latest"},
		"nginx" + digest:                    {"nginx", ""},
		"nginx:1.27" + digest:               {"nginx", "1.27"},
		"reg:5000/a/b:v2" + digest:          {"reg:5000/a/b", "v2"},
		"sha256:" + strings.Repeat("a", 64): {"", ""},
		"":                                  {"", ""},
	} {
		name, tag := imageName(reference)
		require.Equal(t, want, [2]string{name, tag}, reference)
	}
}

func TestOwnContainerIsKnownHoweverItIsRun(t *testing.T) {
	id, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	mount := func(root, point string) string {
		return "700 600 8:1 " + root + " " + point + " rw,relatime - ext4 /dev/sda1 rw\n"
	}
	logs := mount("/var/lib/docker/containers", "/var/lib/docker/containers") + mount("/var/lib/docker/containers/"+other+"/mounts/shm", "/mnt/shm")
	for name, tt := range map[string]struct{ mounts, cgroups, podman, hostname string }{
		"cgroup v2":          {mounts: logs + mount("/var/lib/docker/containers/"+id+"/resolv.conf", "/etc/resolv.conf"), cgroups: "0::/\n"},
		"host network":       {mounts: logs + mount("/var/lib/docker/containers/"+id+"/hosts", "/etc/hosts"), cgroups: "0::/\n", hostname: "myhost"},
		"own data root":      {mounts: mount("/data/containers/"+id+"/hostname", "/etc/hostname"), hostname: "custom"},
		"cgroup v1":          {cgroups: "12:memory:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n"},
		"systemd cgroups":    {cgroups: "0::/system.slice/docker-" + id + ".scope\n"},
		"within a container": {cgroups: "1:cpu:/docker/" + other + "/docker/" + id + "\n"},
		"podman":             {podman: "engine=\"podman\"\nid=\"" + id + "\"\n"},
		"hostname only":      {hostname: id[:12]},
	} {
		o := ownFrom(tt.mounts, tt.cgroups, tt.podman, tt.hostname)
		require.True(t, o.is(id), name)
		require.False(t, o.is(other), name)
	}
	o := ownFrom(logs, "0::/user.slice/session-1.scope\n", "", "workstation")
	require.False(t, o.is(id))
	require.False(t, o.is(other))
	o = ownFrom("", "", "", "cafe") // a host may have such a name
	require.False(t, o.is("cafe"+id))
}

func TestConfigErrorsNameKeyAndValue(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"`endpoint`: \"gopher://x\"":                                    func(c *Config) { c.Endpoint = "gopher://x" },
		"`endpoint`: \"/var/run/x\"":                                    func(c *Config) { c.Endpoint = "/var/run/x" },
		"`tls` is for tcp:// and https://, `endpoint` is \"unix:///x\"": func(c *Config) { c.Endpoint, c.TLS = "unix:///x", &configtls.ClientConfig{} },
		"`tls` is for tcp:// and https://, `endpoint` is \"ssh://x\"":   func(c *Config) { c.Endpoint, c.TLS = "ssh://x", &configtls.ClientConfig{} },
		"`start_at`":              func(c *Config) { c.StartAt = "middle" },
		"\"-1h\"":                 func(c *Config) { c.StartAt = "-1h" },
		"`streams`":               func(c *Config) { c.Streams = nil },
		"\"stdin\"":               func(c *Config) { c.Streams = []string{"stdin"} },
		"`max_log_size`":          func(c *Config) { c.MaxLogSize = 0 },
		"`max_log_size_behavior`": func(c *Config) { c.MaxLogSizeBehavior = "drop" },
		"`resync_interval`":       func(c *Config) { c.ResyncInterval = 0 },
		"`shutdown_grace`":        func(c *Config) { c.ShutdownGrace = -time.Second },
	} {
		config := createDefaultConfig().(*Config)
		require.NoError(t, config.Validate())
		change(config)
		require.ErrorContains(t, config.Validate(), want)
	}
	config := createDefaultConfig().(*Config)
	config.StartAt, config.Endpoint = "90m", "tcp://10.0.0.1:2376"
	require.NoError(t, config.Validate())
}

// The inspect can be quicker than the stream that was started for a container of which not enough was known.
func TestContainerIsLeftOutThatWasInspectedBeforeItsStreamBegan(t *testing.T) {
	config := createDefaultConfig().(*Config)
	config.Exclude.LogDrivers = []string{"gelf"}
	rules, err := config.build()
	require.NoError(t, err)
	for driver, want := range map[string]bool{"gelf": false, "json-file": true} {
		c := newFollowed("id", "key")
		c.about = description{driver: driver, inspected: true}
		st := &stream{f: &follower{config: config, rules: rules}, c: c, described: make(chan struct{})}
		close(st.described)
		require.Equal(t, want, st.chosen(t.Context()), driver)
		require.Equal(t, !want, c.settled)
	}
}

func TestDeliveriesWaitLessWhereTheLogRotatesFast(t *testing.T) {
	for name, tt := range map[string]struct {
		rotation, bytes int64 // in one tick
		want            time.Duration
	}{
		"never rotates":         {0, 1 << 30, releaseAfter},
		"slow":                  {10_000_000, 1000, releaseAfter},
		"twice in a second":     {500_000, 100_000, 500 * time.Millisecond},
		"faster than the ticks": {1000, 1_000_000, tickInterval},
	} {
		st := &stream{c: newFollowed("id", "key")}
		st.c.about.rotation = tt.rotation
		st.bytes.Store(tt.bytes)
		require.Equal(t, tt.want, st.patience(), name)
		require.GreaterOrEqual(t, st.patience(), tt.want, "it is remembered for a while, %s", name)
		for range 500 {
			st.patience()
		}
		require.Equal(t, releaseAfter, st.patience(), name)
	}
}

func TestWhichLogsAreCompressed(t *testing.T) {
	for _, tt := range []struct {
		driver, key, value string
		plain              bool
	}{
		{"json-file", "", "", true},
		{"json-file", "compress", "true", false},
		{"json-file", "compress", "false", true},
		{"local", "", "", false},
		{"local", "compress", "false", true},
		{"journald", "", "", true},
		{"fluentd", "", "", false},
		{"fluentd", "cache-compress", "false", true},
		{"fluentd", "compress", "false", false},
		{"", "", "", false},
	} {
		require.Equal(t, tt.plain, plain(container.LogConfig{Type: tt.driver, Config: map[string]string{tt.key: tt.value}}), "%+v", tt)
	}
}

func TestPausesBetweenTriesGrow(t *testing.T) {
	for longest, want := range map[time.Duration]time.Duration{0: 3 * time.Second, sshPause: 30 * time.Second} {
		wait := backoff{longest: longest}
		require.Less(t, wait.next(), 100*time.Millisecond)
		for range 20 {
			require.LessOrEqual(t, wait.next(), want)
		}
		require.GreaterOrEqual(t, wait.next(), want/2)
		wait.reset()
		require.Less(t, wait.next(), 100*time.Millisecond)
	}
}
