//go:build linux

package containerlogreceiver

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/dockertest"
	"github.com/logcapture/logcapture/internal/dockertest/script"
)

func TestFailedStartLeavesNothingBehind(t *testing.T) {
	certificates := t.TempDir()
	for _, name := range []string{"ca.pem", "cert.pem", "key.pem"} {
		require.NoError(t, os.WriteFile(filepath.Join(certificates, name), []byte("no certificate"), 0o600))
	}
	missing := component.MustNewID("missing")
	other := component.MustNewID("other")
	for name, tt := range map[string]struct {
		storage *component.ID
		held    bool
		env     map[string]string
		tls     *configtls.ClientConfig
		want    string
	}{
		"no such extension":          {storage: &missing, want: "`storage`"},
		"not a storage":              {storage: &other, want: "`storage`"},
		"storage is refused":         {storage: &capturetest.StorageID, held: true, want: "`storage`"},
		"address that is none":       {storage: &capturetest.StorageID, env: map[string]string{client.EnvOverrideHost: "gopher://x"}, want: client.EnvOverrideHost},
		"certificates that are none": {storage: &capturetest.StorageID, env: map[string]string{client.EnvOverrideHost: "tcp://127.0.0.1:1", client.EnvOverrideCertPath: certificates}, want: client.EnvOverrideCertPath},
		"certificates not there":     {storage: &capturetest.StorageID, env: map[string]string{client.EnvOverrideHost: "tcp://127.0.0.1:1", client.EnvOverrideCertPath: t.TempDir()}, want: client.EnvOverrideCertPath},
		"authority not there":        {storage: &capturetest.StorageID, tls: &configtls.ClientConfig{Config: configtls.Config{CAFile: filepath.Join(certificates, "none.pem")}}, want: "`tls`"},
		"authority that is none":     {storage: &capturetest.StorageID, tls: &configtls.ClientConfig{Config: configtls.Config{CAFile: filepath.Join(certificates, "ca.pem")}}, want: "`tls`"},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			host := capturetest.NewHost(t, t.TempDir())
			host.GetExtensions()[other] = struct {
				component.StartFunc
				component.ShutdownFunc
			}{}
			config := createDefaultConfig().(*Config)
			config.Storage = tt.storage
			if config.TLS = tt.tls; tt.tls != nil {
				config.Endpoint = "tcp://127.0.0.1:1"
			}
			if tt.held { // two receivers of one id: file_storage lets one have it
				quiet := *config
				quiet.Endpoint = "unix://" + filepath.Join(t.TempDir(), "s") // it opens nothing that would be counted
				holder := create(t, &quiet, &capturetest.Consumer{})
				require.NoError(t, holder.Start(t.Context(), host))
				defer capturetest.ShutDown(t, holder)
			}
			before := settledFiles(t)
			r := create(t, config, &capturetest.Consumer{})
			require.ErrorContains(t, r.Start(t.Context(), host), tt.want)
			require.LessOrEqual(t, openFiles(t), before)
			capturetest.ShutDown(t, r)
		})
	}
}

func TestTasksThatNobodyExpectsAreTold(t *testing.T) {
	for _, kind := range []string{"stream", "inspect", "reconciler", "ticker", "watchdog", "bell"} {
		t.Run(kind, func(t *testing.T) {
			nowhere := "unix://" + filepath.Join(t.TempDir(), "s")
			synctest.Test(t, func(t *testing.T) {
				host := capturetest.NewHostWith(nil)
				config := createDefaultConfig().(*Config)
				config.Endpoint, config.ReadFrom = nowhere, readAPI // one that waits for the kernel stops the clock
				r := create(t, config, &capturetest.Consumer{})
				require.NoError(t, r.Start(t.Context(), host))
				time.Sleep(time.Minute)
				require.NotContains(t, host.Last().Err().Error(), "stray") // the engine is not there
				stray := r.(*containerLog).running.Go(kind, "stray", func(ctx context.Context) { <-ctx.Done() })
				time.Sleep(time.Minute)
				require.Equal(t, componentstatus.StatusRecoverableError, host.Last().Status())
				require.ErrorContains(t, host.Last().Err(), "stray")
				stray.Cancel()
				time.Sleep(time.Minute)
				require.NotContains(t, host.Last().Err().Error(), "stray")
				require.NoError(t, r.Shutdown(t.Context()))
			})
		})
	}
}

// A socket that nobody listens on is an engine that is stopped; one that nobody accepts on is an engine that is frozen.
func TestStartReturnsAtOnceWithoutAnEngine(t *testing.T) {
	frozen := filepath.Join(t.TempDir(), "frozen.sock")
	listener, err := net.Listen("unix", frozen)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	for name, socket := range map[string]string{"stopped": filepath.Join(t.TempDir(), "no.sock"), "frozen": frozen} {
		t.Run(name, func(t *testing.T) {
			config := createDefaultConfig().(*Config)
			config.Endpoint = "unix://" + socket
			host := capturetest.NewHostWith(nil)
			r := create(t, config, &capturetest.Consumer{})
			began := time.Now()
			require.NoError(t, r.Start(t.Context(), host))
			require.Less(t, time.Since(began), capturetest.Promptly)
			if name == "stopped" {
				capturetest.WaitFor(t, "the status", func() bool { return host.Last().Status() == componentstatus.StatusRecoverableError })
			}
			capturetest.ShutDown(t, r)
		})
	}
}

// A container that has ended is left out while it does not run, and read from its beginning when it is started.
func TestContainersAreSelectedByTheStateInWhichTheyAreFound(t *testing.T) {
	t.Parallel()
	inBothModes(t, testContainersAreSelectedByTheStateInWhichTheyAreFound)
}

func testContainersAreSelectedByTheStateInWhichTheyAreFound(t *testing.T) {
	t.Parallel()
	ended := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{script.Lines{Count: 2}}})
	ended.WaitExit(patience)
	running := dockertest.Run(t, dockertest.Spec{Name: name(t), Steps: []script.Step{
		script.Lines{Count: 1}, script.Wait{Signal: "TERM"}, script.Lines{Count: 1},
	}})
	r := newRig(t, func(c *Config) { c.Include.States, c.ResyncInterval = []string{"running"}, 100*time.Millisecond })
	r.start()
	r.awaitLines(running.ID, 1)
	running.Stop(10) // a run that is read is read to its end
	r.awaitLines(running.ID, 2)
	require.Empty(t, r.records(ended.ID))
	require.Nil(t, r.receiver.(*containerLog).follower.get(ended.ID).stored())
	ended.Start()
	r.awaitLines(ended.ID, 4)
	r.requireExact(ended)
	r.requireExact(running)
	r.stop()
}
