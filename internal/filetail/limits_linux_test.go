package filetail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"

	"github.com/logcapture/logcapture/internal/capturetest"
)

// childEnv tells a child process that it is one, and in which of its cases.
const childEnv = "LOGCAPTURE_FILETAIL_CHILD"

// inChild runs the test of that name in a process of its own, whose limits are its own too. It returns what the process has said.
func inChild(t *testing.T, name, value string, namespace bool) string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout=5m")
	child.Env = append(os.Environ(), childEnv+"="+value)
	if namespace {
		child.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
	out, err := child.CombinedOutput()
	if namespace && out == nil && err != nil {
		t.Skip("no user namespaces: ", err)
	}
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+name)
	return string(out)
}

func TestFewHandlesInTheProcess(t *testing.T) {
	for _, configured := range []string{"0", "100000"} { // by default, and more than there are
		t.Run("max_open_files "+configured, func(t *testing.T) { inChild(t, "TestFewHandlesChild", configured, false) })
	}
}

// TestFewHandlesChild is `ulimit -n 256` and 2,000 files, which are written to again and again.
func TestFewHandlesChild(t *testing.T) {
	configured := os.Getenv(childEnv)
	if configured == "" {
		t.Skip("the child of TestFewHandlesInTheProcess")
	}
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 256, Max: 256}))
	x := newTail(t)
	_, err := fmt.Sscan(configured, &x.settings.MaxOpenFiles)
	require.NoError(t, err)
	x.settings.PollInterval, x.settings.ReconcileInterval = 200*time.Millisecond, time.Second
	const files, rounds = 2000, 3
	for round := range rounds {
		for i := range files {
			text, _ := lines(fmt.Sprint(i), round*2+1, round*2+2)
			x.writeWhenOpened(fmt.Sprintf("%d.log", i), text)
		}
		if round == 0 {
			x.run()
		}
		capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= files*2*(round+1) })
	}
	x.orderly(files)
	require.LessOrEqual(t, x.logged.Len(), 1, "no storm of errors: %v", x.logged.All())
}

// writeWhenOpened is write where the engine, which is in the same process, may just have taken the last handle. It gives some back as soon as it is
// refused one itself.
func (x *tail) writeWhenOpened(name, text string) {
	x.t.Helper()
	var f *os.File
	var err error
	capturetest.WaitFor(x.t, "a handle for the writer", func() bool {
		f, err = os.OpenFile(x.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		return !errors.Is(err, syscall.EMFILE)
	})
	require.NoError(x.t, err)
	_, err = f.WriteString(text)
	require.NoError(x.t, err)
	require.NoError(x.t, f.Close())
}

func TestOthersTakeAllHandlesOfTheProcess(t *testing.T) {
	for _, ours := range []string{"none of them ours", "one of them ours"} {
		t.Run(ours, func(t *testing.T) { inChild(t, "TestOthersTakeAllHandlesChild", ours, false) })
	}
}

// TestOthersTakeAllHandlesChild takes all that the process may open, and lets files appear then. What the engine has open has to do for them; with
// nothing it waits, and can be stopped. Afterwards it has as many files open as before.
func TestOthersTakeAllHandlesChild(t *testing.T) {
	ours := os.Getenv(childEnv)
	if ours == "" {
		t.Skip("the child of TestOthersTakeAllHandlesOfTheProcess")
	}
	const most = 256
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: most}))
	x := newTail(t)
	const files = 50
	aside := t.TempDir()
	for i := range files {
		require.NoError(t, os.WriteFile(fmt.Sprintf("%s/%d.log", aside, i), fmt.Appendf(nil, "%d-1\n", i), 0o600))
	}
	if ours == "one of them ours" {
		x.write("first.log", "first-1\n")
	}
	x.run().readOut()
	first := x.consumer.Len()
	var others []int
	take := func() {
		for {
			fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
			if err != nil {
				require.ErrorIs(t, err, syscall.EMFILE)
				return
			}
			others = append(others, fd)
		}
	}
	// A look may have the directory open just now, which is a handle for the engine as soon as the look is over.
	left := func() bool {
		for fd := range most {
			if path, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd)); err != nil || path == x.dir {
				return true
			}
		}
		return false
	}
	take()
	for ours == "none of them ours" && left() {
		x.settled()
		take()
	}
	giveBack := func() {
		for _, fd := range others {
			require.NoError(t, syscall.Close(fd))
		}
	}
	for i := range files {
		require.NoError(t, os.Rename(fmt.Sprintf("%s/%d.log", aside, i), x.path(fmt.Sprintf("%d.log", i))))
	}
	capturetest.WaitFor(t, "a refusal", func() bool { return x.logged.FilterMessageSnippet("lets no more files be opened").Len() == 1 })
	if ours == "one of them ours" {
		capturetest.WaitFor(t, "all lines, read in turns", func() bool { return x.consumer.Len() == first+files })
		giveBack()
	} else {
		x.settled()
		require.Equal(t, first, x.consumer.Len())
		x.stop()
		giveBack()
		x.run()
		capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() == first+files })
	}
	capturetest.WaitFor(t, "as many may be open as before", func() bool {
		x.engine.mu.Lock()
		defer x.engine.mu.Unlock()
		return x.engine.handles.limit == 128
	})
	require.LessOrEqual(t, x.logged.FilterMessageSnippet("lets no more").Len(), 1)
}

func TestFewWatchesInTheSystem(t *testing.T) {
	for _, limit := range []string{"max_inotify_watches", "max_inotify_instances"} {
		t.Run(limit, func(t *testing.T) { inChild(t, "TestFewWatchesChild", limit, true) })
	}
}

// TestFewWatchesChild has at most 4 watches, or none at all, for 20 directories.
func TestFewWatchesChild(t *testing.T) {
	limit := os.Getenv(childEnv)
	if limit == "" {
		t.Skip("the child of TestFewWatchesInTheSystem")
	}
	few := 4
	if limit == "max_inotify_instances" {
		few = 0
	}
	require.NoError(t, os.WriteFile("/proc/sys/user/"+limit, []byte(fmt.Sprint(few)), 0))
	x := byEvents(t, "**/*.log")
	const dirs = 20
	for i := range dirs {
		require.NoError(t, os.Mkdir(x.path(fmt.Sprint(i)), 0o700))
	}
	x.run().looked()
	notify, poll := x.modes("notify"), x.modes("poll")
	require.Equal(t, few > 0, notify > 0, "%d directories are watched", notify)
	require.LessOrEqual(t, notify, int64(few))
	require.EqualValues(t, dirs+1, notify+poll)
	require.Equal(t, notify, x.value("otelcol_logcapture_discovery_mode", attribute.String("mode", "notify")))
	require.Equal(t, poll, x.value("otelcol_logcapture_discovery_mode", attribute.String("mode", "poll")))
	require.Equal(t, 1, x.logged.Len(), "one warning: %v", x.logged.All())
	for round := range 3 {
		for i := range dirs {
			text, _ := lines(fmt.Sprint(i), round*10+1, round*10+10)
			x.write(fmt.Sprintf("%d/a.log", i), text)
		}
		capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= dirs*10*(round+1) })
	}
	x.orderly(dirs)
}

func TestQueueOfEventsOverflows(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	require.NoError(t, err)
	var most int
	_, err = fmt.Sscan(string(limit), &most)
	require.NoError(t, err)
	if most > 1<<20 {
		t.Skip("the queue of this system is too long")
	}
	x := byEvents(t)
	x.write("a.log", "")
	x.write("b.log", "")
	x.run().looked()
	a, err := os.OpenFile(x.path("a.log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer a.Close()
	b, err := os.OpenFile(x.path("b.log"), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer b.Close()
	looks := x.looks()
	x.engine.mu.Lock()    // discovery waits meanwhile, and its events with it
	each := most/2 + 4096 // of which a reader that hands them on late has some in its memory
	for range each {
		_, err = a.WriteString("a\n")
		require.NoError(t, err)
		_, err = b.WriteString("b\n")
		require.NoError(t, err)
	}
	for i := range 20 {
		x.write(fmt.Sprintf("late-%d.log", i), "late\n") // no event will tell
	}
	x.engine.mu.Unlock()
	want := 2*each + 20
	capturetest.WaitFor(t, "all lines", func() bool { return x.consumer.Len() >= want })
	require.Equal(t, want, x.consumer.Len())
	require.Equal(t, 20, strings.Count(strings.Join(x.consumer.Bodies(), " "), "late"))
	capturetest.WaitFor(t, "the look at everything is over", func() bool { return x.looks() > looks })
}

// Which file systems tell of changes is a list; those that this machine has are asked.
func TestFileSystemsThatAreWatched(t *testing.T) {
	for _, magic := range []uint32{0x6969, 0xff534d42, 0xfe534d42, 0x65735546, 0x01021997, 0x794c7630} { // nfs, cifs, smb2, fuse, 9p, overlay
		require.True(t, remote[magic], "%x", magic)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	polled := map[string]bool{
		"nfs": true, "nfs4": true, "cifs": true, "smb3": true, "9p": true, "overlay": true, "ceph": true,
		"ext4": false, "xfs": false, "btrfs": false, "tmpfs": false,
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if want, ok := polled[fields[2]]; ok {
			if _, err := os.Stat(fields[1]); err == nil && !strings.Contains(fields[1], `\`) {
				require.Equal(t, !want, tellsChanges(fields[1]), line)
			}
		}
	}
}

// An overlay is mounted in a namespace of its own; what is written to its lower directory behind its back is found too.
func TestOverlayIsPolled(t *testing.T) {
	if out, err := exec.Command("unshare", "-Urm", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces: %v %s", err, out)
	}
	child := exec.Command("unshare", "-Urm", os.Args[0], "-test.run=^TestOverlayChild$", "-test.v", "-test.timeout=5m")
	child.Env = append(os.Environ(), childEnv+"=overlay")
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	if strings.Contains(string(out), "--- SKIP: TestOverlayChild") {
		t.Skipf("%s", out)
	}
	require.Contains(t, string(out), "--- PASS: TestOverlayChild")
}

func TestOverlayChild(t *testing.T) {
	if os.Getenv(childEnv) != "overlay" {
		t.Skip("the child of TestOverlayIsPolled")
	}
	top := t.TempDir()
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		require.NoError(t, os.Mkdir(top+"/"+dir, 0o700))
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", top)
	if err := syscall.Mount("overlay", top+"/merged", "overlay", 0, options); err != nil {
		t.Skip("no overlay: ", err)
	}
	defer func() { _ = syscall.Unmount(top+"/merged", syscall.MNT_DETACH) }()
	x := byEvents(t)
	x.dir = top + "/merged"
	x.settings.Include = []string{x.path("*.log")}
	require.NoError(t, os.WriteFile(top+"/lower/low.log", []byte("one\n"), 0o600))
	x.run().looked()
	require.EqualValues(t, 0, x.modes("notify"))
	require.EqualValues(t, 1, x.modes("poll"))
	x.want("one")
	low, err := os.OpenFile(top+"/lower/low.log", os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer low.Close()
	_, err = low.WriteString("two\n")
	require.NoError(t, err)
	x.want("one", "two")
	x.write("up.log", "three\n")
	x.want("one", "two", "three")
}
