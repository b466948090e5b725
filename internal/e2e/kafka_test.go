//go:build linux

package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/dockertest/script"
)

// broker is a Kafka broker in a process of its own; see the command in the folder kafka.
type broker struct {
	cmd  *exec.Cmd
	addr string
}

// newBroker starts a broker whose records go to the sink, in the order that a consumer of the topic has.
func newBroker(t *testing.T, s *sink) *broker {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "kafka")
	build := exec.Command("go", "build", "-o", bin, ".")
	build.Dir = "kafka"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	b := &broker{cmd: exec.Command(bin)}
	b.cmd.Stderr = os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := b.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read, out := make(chan error, 1), bufio.NewReader(pipe)
	t.Cleanup(func() {
		b.signal(t, syscall.SIGCONT)
		_ = in.Close()
		if err := <-read; err != nil {
			t.Error(err)
		}
		_ = b.cmd.Wait()
	})
	addr, err := out.ReadString('\n')
	if err != nil {
		read <- nil
		t.Fatalf("address of the broker: %v", err)
	}
	b.addr = strings.TrimSpace(addr)
	go func() { read <- s.consume(out) }()
	return b
}

func (b *broker) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := b.cmd.Process.Signal(sig); err != nil {
		t.Error(err)
	}
}

// consume takes what a broker prints.
func (s *sink) consume(r io.Reader) error {
	for {
		var size uint32
		if err := binary.Read(r, binary.BigEndian, &size); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		value := make([]byte, size)
		if _, err := io.ReadFull(r, value); err != nil {
			return err
		}
		logs, err := (&plog.ProtoUnmarshaler{}).UnmarshalLogs(value)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.requests++
		s.take(s.requests, logs)
		s.mu.Unlock()
	}
}

// writeLarge writes a file of lines of a megabyte, as large as they may be.
func writeLarge(t *testing.T, c *capture, n int) {
	t.Helper()
	var content []byte
	for seq := 1; seq <= n; seq++ {
		content = append(script.AppendLine(content, "large", 1, seq, 1_000_000), '\n')
	}
	c.lines.expect("large", n)
	if err := os.WriteFile(filepath.Join(c.dir, "large.log"), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestKafkaCostsNothing: stops repeat nothing; kills, and a broker that does not answer, lose nothing.
func TestKafkaCostsNothing(t *testing.T) {
	t.Parallel()
	sink := newSink(t)
	broker := newBroker(t, sink)
	c := newCapture(t, settings{
		shipped: "kafka.yaml", sink: sink, env: []string{"LOGCAPTURE_KAFKA=" + broker.addr},
		more: map[string]any{"exporters": map[string]any{"kafka": map[string]any{"timeout": "2s"}}}, // or the test waits
	})
	sink.forgetAll()
	for range 2 {
		captured(t, c.lines, 500)
		c.col.stop(stopLimit)
		c.col.start()
	}
	captured(t, c.lines, 500)
	if n := c.lines.repeats(); n != 0 {
		t.Errorf("%d lines came again after stops", n)
	}
	writeLarge(t, c, 3)
	for range 2 {
		c.col.kill()
		c.col.start()
		captured(t, c.lines, 500)
	}
	broker.signal(t, syscall.SIGSTOP)
	begin := time.Now()
	c.goesOn(t, 800)
	broker.signal(t, syscall.SIGCONT)
	t.Logf("the broker did not answer for %v", time.Since(begin))
	c.end(t)
	t.Logf("of %d lines %d came again", c.lines.count(), c.lines.forgive())
	c.lines.exact(t)
}
