//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/logcapture/logcapture/internal/dockertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buildOnce makes the binary for a run by hand.
var buildOnce = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("make", "-C", "../..", "build")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", err
	}
	return filepath.Abs("../../_build/otelcol-logcapture")
})

// distribution returns the path of the distribution under test.
func distribution(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("LOGCAPTURE_BIN"); path != "" {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("LOGCAPTURE_BIN: %v", err)
		}
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("CI=true asks for LOGCAPTURE_BIN, the path of the built distribution")
	}
	path, err := buildOnce()
	if err != nil {
		t.Fatalf("make build: %v", err)
	}
	return path
}

// ownEngine starts an engine for this test alone, so that other tests' containers do not blur what is counted.
func ownEngine(t *testing.T, settings dockertest.EngineSettings) *dockertest.Engine {
	t.Helper()
	engine := dockertest.NewEngine(t, settings)
	engine.Start()
	return engine
}

// eventually polls until the condition holds. What it returned last, empty or not, is told when time is up.
func eventually(t *testing.T, limit time.Duration, what string, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		last := missing()
		if last == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %v: %s", what, limit, last)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
