//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// newDisk mounts a file system of its own, of 8 MiB.
func newDisk(t *testing.T) string {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("NOT TESTED: a disk cannot be made here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}

// fragileDisk is an ext4 file system in a file.
type fragileDisk struct{ dir, image string }

func newFragileDisk(t *testing.T) fragileDisk {
	t.Helper()
	d := fragileDisk{dir: t.TempDir(), image: filepath.Join(t.TempDir(), "image")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/sbin/mkfs.ext4", "-q", d.image).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: a disk cannot be made here: %v\n%s", err, out)
	}
	if err := d.mount(); err != nil {
		t.Skipf("NOT TESTED: a disk cannot be made here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(d.dir, unix.MNT_DETACH) })
	return d
}

func (d fragileDisk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop,errors=remount-ro", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount: %w\n%s", err, out)
	}
	return nil
}

// fail has the file system do what it does when it finds an error on its disk.
func (d fragileDisk) fail(t *testing.T) {
	t.Helper()
	device, err := exec.Command("findmnt", "-n", "-o", "SOURCE", d.dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(strings.TrimSpace(string(device))), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "probe"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Fatalf("after an error the disk says %v, want that it is read-only", err)
	}
}

func (d fragileDisk) repair(t *testing.T) {
	t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		t.Fatal(err)
	}
	// A container that starts has a copy of all mounts for a moment, and what is mounted twice would be read-only again.
	eventually(t, readyLimit, "end of the file system", func() string {
		device, err := exec.Command("/sbin/losetup", "--noheadings", "--associated", d.image).Output()
		if err != nil {
			return err.Error()
		}
		return string(device)
	})
	// 1 is that there was something to repair.
	if out, err := exec.Command("/sbin/e2fsck", "-fy", d.image).CombinedOutput(); err != nil && !strings.Contains(err.Error(), "exit status 1") {
		t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	if err := d.mount(); err != nil {
		t.Fatal(err)
	}
}

// tamper has strace change what system calls of the collector do, until release. Sockets and logs are not written by pwrite64, the files
// of the positions are.
func tamper(t *testing.T, c *collector, calls, effect string) (release func()) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+calls, "-e", "inject="+calls+":"+effect, "-p", strconv.Itoa(c.pid()))
	said, err := os.Create(filepath.Join(t.TempDir(), "strace"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Skipf("NOT TESTED: system calls cannot be tampered with here: %v", err)
	}
	release = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(unix.SIGTERM) // it lets go of the collector, which a kill would not
		_ = cmd.Wait()
	})
	t.Cleanup(release)
	status := "/proc/" + strconv.Itoa(c.pid()) + "/status"
	eventually(t, readyLimit, "a tracer", func() string {
		text, err := os.ReadFile(status)
		if err == nil && !strings.Contains(string(text), "TracerPid:\t0\n") {
			return ""
		}
		complaint, _ := os.ReadFile(said.Name())
		return fmt.Sprintf("none yet: %v %s", err, complaint)
	})
	return release
}
