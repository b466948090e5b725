//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// databases returns the databases of a collector's positions.
func databases(t *testing.T, c *collector) []string {
	t.Helper()
	all, err := filepath.Glob(c.path("positions/receiver_*_"))
	if err != nil || len(all) != 2 {
		t.Fatalf("databases of two receivers: %v, %v", all, err)
	}
	return all
}

// damages are what becomes of a database while the collector is down. Each gets the bytes of a good one.
func damages(t *testing.T) map[string]func(good []byte) []byte {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	all := map[string]func(good []byte) []byte{
		"empty":      func([]byte) []byte { return nil },
		"zeroes":     func(good []byte) []byte { return make([]byte, len(good)) },
		"other":      func([]byte) []byte { return []byte(strings.Repeat("no database\n", 5_000)) },
		"newer":      func(good []byte) []byte { good[16+4]++; good[4096+16+4]++; return good },
		"one byte":   func(good []byte) []byte { return good[:1] },
		"metas only": func(good []byte) []byte { return good[:8192] },
		"cut":        func(good []byte) []byte { return good[:random.IntN(len(good))] },
		"flipped": func(good []byte) []byte {
			for range 200 {
				good[random.IntN(len(good))] ^= 1 << random.IntN(8)
			}
			return good
		},
		"pages from elsewhere": func(good []byte) []byte {
			for page := 2 * 4096; page+4096 <= len(good); page += 4096 {
				copy(good[page:page+4096], good[random.IntN(len(good)-4096):])
			}
			return good
		},
	}
	return all
}

// TestDamagedDatabaseCostsRepeats: whatever is in the files of the positions, the collector starts, goes on, and skips nothing.
func TestDamagedDatabaseCostsRepeats(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	c.sink.forgetAll()
	for name, damage := range damages(t) {
		captured(t, c.lines, 500)
		c.col.kill()
		for _, path := range databases(t, c.col) {
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(good), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c.col.start()
		if t.Failed() {
			t.Fatalf("after %q", name)
		}
	}
	// And under its hands.
	captured(t, c.lines, 500)
	for _, path := range databases(t, c.col) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	captured(t, c.lines, 500)
	c.col.stop(stopLimit)
	c.col.start()
	c.end(t)
	t.Logf("%d lines came again, of %d", c.lines.forgive(), c.lines.count())
	c.lines.exact(t)
}

// TestStorageOfAnotherCollectorIsAClearError: two cannot have the same positions. The first is not disturbed.
func TestStorageOfAnotherCollectorIsAClearError(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 100)
	second := newCollector(t, settings{shipped: "direct.yaml", endpoint: c.sink.addr, receivers: c.receivers})
	second.env = append(second.env, "LOGCAPTURE_STATE="+c.col.path("positions"))
	second.launch()
	if code := second.wait(readyLimit); code == 0 {
		t.Error("the second collector ended with code 0")
	}
	log := second.log()
	for _, want := range []string{"`storage`", "file_storage", "timeout"} {
		if !strings.Contains(log, want) {
			t.Errorf("the error does not name %q:\n%s", want, log)
		}
	}
	captured(t, c.lines, 100)
	c.end(t)
	c.lines.exact(t)
}

// TestReadOnlyStorageIsAClearError: without a place for positions nothing is begun that could not be ended.
func TestReadOnlyStorageIsAClearError(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	c := newCollector(t, settings{shipped: "direct.yaml", endpoint: freeAddr(t), env: []string{"LOGCAPTURE_STATE=" + disk}, receivers: map[string]any{
		"container_log": map[string]any{"endpoint": "unix:///nowhere"}, "file_tail": map[string]any{"include": []string{disk + "/*.log"}},
	}})
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	c.launch()
	if code := c.wait(readyLimit); code == 0 {
		t.Error("the collector ended with code 0")
	}
	for _, want := range []string{"`storage`", "file_storage", "read-only file system"} {
		if !strings.Contains(c.log(), want) {
			t.Errorf("the error does not name %q:\n%s", want, c.logTail())
		}
	}
}

// storageFails waits until the failure of the storage is told by the log, and by the status and the metrics of both receivers.
func (c *capture) storageFails(t *testing.T) {
	t.Helper()
	eventually(t, completionLimit, "storage that fails", func() string {
		answer, err := c.col.get("http://" + c.col.health + "/?verbose")
		if answer == "" {
			return err.Error()
		}
		parts, err := unwell(answer)
		if err != nil {
			return err.Error()
		}
		for _, receiver := range []string{"container_log", "file_tail"} {
			if status := parts["receiver:"+receiver]; !strings.HasPrefix(status, "StatusRecoverableError: write positions: ") {
				return fmt.Sprintf("the status of %s is %q", receiver, status)
			}
			if c.metric(t, "checkpoint_errors", receiver) == 0 {
				return "the metric of " + receiver + " says nothing"
			}
		}
		if !strings.Contains(c.col.log(), "Storage fails") {
			return "the log says nothing"
		}
		return ""
	})
}

// storageWorks waits until both receivers say that it works again.
func (c *capture) storageWorks(t *testing.T) {
	t.Helper()
	eventually(t, readyLimit, "storage that works again", func() string {
		if n := strings.Count(c.col.log(), "Storage works again"); n < 2 {
			return fmt.Sprintf("told by %d", n)
		}
		return ""
	})
}

// TestFullDiskCostsNothing: capture goes on while positions cannot be stored, and they are stored when there is room again.
func TestFullDiskCostsNothing(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	c := newCapture(t, settings{shipped: "direct.yaml", env: []string{"LOGCAPTURE_STATE=" + disk}})
	captured(t, c.lines, 500)
	ballast := filepath.Join(disk, "ballast")
	file, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 4096))
	}
	_ = file.Close()
	// New files need new keys, for which there is no page.
	eventually(t, completionLimit, "storage that fails", func() string {
		if strings.Contains(c.col.log(), "Storage fails") {
			return ""
		}
		return "not told"
	})
	captured(t, c.lines, 1000)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, readyLimit, "storage that works again", func() string {
		if strings.Contains(c.col.log(), "Storage works again") {
			return ""
		}
		return "not told"
	})
	c.col.stop(stopLimit)
	c.col.start()
	c.end(t)
	c.lines.exact(t)
}

// TestDiskThatIsReadOnlyForAWhileCostsNothing: while writes are answered as by a file system that is read-only, capture goes on; then the
// positions catch up. A real file system with open files becomes read-only by an error only, and not writable again: see the next test.
func TestDiskThatIsReadOnlyForAWhileCostsNothing(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	release := tamper(t, c.col, "pwrite64,ftruncate", "error=EROFS")
	c.storageFails(t)
	captured(t, c.lines, 1000)
	release()
	c.storageWorks(t)
	c.col.stop(stopLimit)
	c.col.start()
	c.end(t)
	c.lines.exact(t)
}

// TestDiskThatTurnsReadOnlyCostsRepeats: a file system that has met an error is read-only until somebody repairs it. Capture goes on;
// the collector stops cleanly, and repeats after the repair what it could not note.
func TestDiskThatTurnsReadOnlyCostsRepeats(t *testing.T) {
	t.Parallel()
	disk := newFragileDisk(t)
	c := newCapture(t, settings{shipped: "direct.yaml", env: []string{"LOGCAPTURE_STATE=" + disk.dir}})
	c.sink.forgetAll()
	captured(t, c.lines, 500)
	disk.fail(t)
	c.storageFails(t)
	captured(t, c.lines, 1000)
	if n := c.metric(t, "records_dropped", ""); n != 0 {
		t.Errorf("%d records were dropped", n)
	}
	c.col.stop(stopLimit)
	disk.repair(t)
	c.col.start()
	c.end(t)
	t.Logf("%d of %d lines came again", c.lines.forgive(), c.lines.count())
	c.lines.exact(t)
}

// TestSlowStorageCostsNothing: with a second for each write, lines come on, and a clean stop still has all positions stored.
func TestSlowStorageCostsNothing(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	tamper(t, c.col, "pwrite64", "delay_enter=1s")
	begin := time.Now()
	captured(t, c.lines, 2000)
	captureTook := time.Since(begin)
	begin = time.Now()
	c.col.stop(readyLimit)
	t.Logf("2,000 lines in %s, stopped in %s", captureTook, time.Since(begin))
	c.col.start()
	c.end(t)
	c.lines.exact(t)
}

// TestNothingIsStoredWhileNothingMoves: files and containers that are there and say nothing cost no write of a position.
func TestNothingIsStoredWhileNothingMoves(t *testing.T) {
	t.Parallel()
	c := newCapture(t, settings{shipped: "direct.yaml"})
	captured(t, c.lines, 500)
	c.written.end(c.lines)
	expectLogs(t, c.lines, c.running)
	c.lines.complete(t, completionLimit)
	stored := func() string {
		state := fmt.Sprintf("%d keys", c.metric(t, "checkpoint_writes", ""))
		for _, path := range databases(t, c.col) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			state += fmt.Sprintf(", %s last written at %v", filepath.Base(path), info.ModTime())
		}
		return state
	}
	// The last positions follow the last answer; and then for many turns of both receivers there is nothing.
	eventually(t, readyLimit, "quiet", func() string {
		before := stored()
		time.Sleep(5 * time.Second)
		if now := stored(); now != before {
			return now + "; before " + before
		}
		return ""
	})
	c.col.stop(stopLimit)
	c.lines.exact(t)
}
