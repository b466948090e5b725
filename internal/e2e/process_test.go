//go:build linux

package e2e

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what a process uses at one moment.
type sample struct {
	goroutines       int
	goroutinesByKind map[string]int // by the function that started them
	fds              int
	fdsByKind        map[string]int // socket, pipe, eventpoll, … or the folder of a file
	connections      int            // to the socket given
	rss              int            // bytes
	cpu              time.Duration  // since the process started
}

// sample looks at the collector; the engine's socket may be empty.
func (c *collector) sample(socket string) sample {
	c.t.Helper()
	var s sample
	stacks, err := c.get("http://" + c.pprof + "/debug/pprof/goroutine?debug=2")
	if err != nil {
		c.t.Fatalf("sample goroutines: %v", err)
	}
	s.goroutinesByKind = goroutineKinds(stacks)
	for _, n := range s.goroutinesByKind {
		s.goroutines += n
	}
	var sockets map[uint32]bool
	if s.fdsByKind, sockets, err = fdKinds(c.pid()); err != nil {
		c.t.Fatalf("sample file descriptors: %v", err)
	}
	for _, n := range s.fdsByKind {
		s.fds += n
	}
	if socket != "" {
		if s.connections, err = connections(socket, sockets); err != nil {
			c.t.Fatalf("sample connections: %v", err)
		}
	}
	if s.rss, s.cpu, err = usage(c.pid()); err != nil {
		c.t.Fatalf("sample usage: %v", err)
	}
	return s
}

var createdBy = regexp.MustCompile(`(?m)^created by (\S+)`)

// goroutineKinds counts the goroutines of a dump of all stacks.
func goroutineKinds(stacks string) map[string]int {
	kinds := map[string]int{}
	for _, stack := range strings.Split(strings.TrimSpace(stacks), "\n\n") {
		if m := createdBy.FindStringSubmatch(stack); m != nil {
			kinds[m[1]]++
		} else {
			kinds["main"]++
		}
	}
	return kinds
}

// fdKinds counts the open files of a process and returns the inodes of its sockets.
func fdKinds(pid int) (map[string]int, map[uint32]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	kinds, sockets := map[string]int{}, map[uint32]bool{}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		kind, inode, numbered := strings.Cut(target, ":[")
		switch {
		case strings.HasPrefix(target, "/"):
			kind = filepath.Dir(target)
		case kind == "socket" && numbered:
			n, err := strconv.ParseUint(strings.TrimSuffix(inode, "]"), 10, 32)
			if err != nil {
				return nil, nil, fmt.Errorf("socket %q: %w", target, err)
			}
			sockets[uint32(n)] = true
		case strings.HasPrefix(target, "anon_inode:"):
			kind = strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
		}
		kinds[kind]++
	}
	return kinds, sockets, nil
}

// Of linux/unix_diag.h.
const (
	udiagShowName = 0x1
	udiagShowPeer = 0x4
	unixDiagName  = 0
	unixDiagPeer  = 2
)

// connections asks the kernel how many of the client sockets are connected to the socket at path. Both ends have to
// be there: an accepted connection on the server's side whose other end is one of the inodes.
func connections(path string, clients map[uint32]bool) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// nlmsghdr (16 bytes) and unix_diag_req (24 bytes): all stream sockets, in the state of an established connection.
	req := make([]byte, 40)
	order := binary.NativeEndian
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], 20) // SOCK_DIAG_BY_FAMILY
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	req[16] = unix.AF_UNIX
	order.PutUint32(req[20:], 1<<1) // TCP_ESTABLISHED
	order.PutUint32(req[28:], udiagShowName|udiagShowPeer)
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	count, buf := 0, make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return 0, err
		}
		for msg := buf[:n]; len(msg) >= 16; {
			size := int(order.Uint32(msg))
			switch order.Uint16(msg[4:]) {
			case unix.NLMSG_DONE:
				return count, nil
			case unix.NLMSG_ERROR:
				return 0, unix.Errno(-int32(order.Uint32(msg[16:])))
			}
			name, peer := diagAttributes(msg[32:size]) // behind nlmsghdr and unix_diag_msg
			if name == path && clients[peer] {
				count++
			}
			msg = msg[(size+3)&^3:]
		}
	}
}

func diagAttributes(b []byte) (name string, peer uint32) {
	order := binary.NativeEndian
	for len(b) >= 4 {
		size := int(order.Uint16(b))
		switch order.Uint16(b[2:]) {
		case unixDiagName:
			name = strings.TrimRight(string(b[4:size]), "\x00")
		case unixDiagPeer:
			peer = order.Uint32(b[4:])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return name, peer
}

// usage reads memory and processor time.
func usage(pid int) (rss int, cpu time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	number := func(field int) int { // numbered as in proc(5)
		n, _ := strconv.Atoi(fields[field-3])
		return n
	}
	const perTick = time.Second / 100 // USER_HZ is 100 on every Linux that Go runs on
	return number(24) * os.Getpagesize(), time.Duration(number(14)+number(15)) * perTick, nil
}

func TestGoroutinesAreCountedByKind(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for range 3 {
		go func() { <-stop }()
	}
	buf := make([]byte, 1<<20)
	eventually(t, readyLimit, "as many goroutines as there are", func() string { // some of other tests may just end
		kinds := goroutineKinds(string(buf[:runtime.Stack(buf, true)]))
		if got := kinds["github.com/logcapture/logcapture/internal/e2e."+t.Name()]; got != 3 {
			t.Fatalf("got %d goroutines of this test, want 3: %v", got, kinds)
		}
		total := 0
		for _, n := range kinds {
			total += n
		}
		if want := runtime.NumGoroutine(); total != want {
			return fmt.Sprintf("got %d goroutines, want %d: %v", total, want, kinds)
		}
		return ""
	})
}

func TestFilesAndConnectionsAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	count := func() int {
		t.Helper()
		_, sockets, err := fdKinds(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		n, err := connections(path, sockets)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for want := range 4 {
		if got := count(); got != want {
			t.Fatalf("got %d connections, want %d", got, want)
		}
		client, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
	}
	if n, err := connections(path, map[uint32]bool{}); err != nil || n != 0 {
		t.Errorf("connections of others: got %d, %v", n, err)
	}

	dir := t.TempDir()
	for i := range 5 {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	kinds, sockets, err := fdKinds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if kinds[dir] != 5 || kinds["socket"] < 9 || kinds["socket"] != len(sockets) || kinds["eventpoll"] < 1 {
		t.Errorf("got %v and %d sockets", kinds, len(sockets))
	}
}

func TestUsageGrowsWithWork(t *testing.T) {
	_, before, err := usage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 64<<20)
	var rss int
	var cpu time.Duration
	for cpu < before+50*time.Millisecond {
		for i := range block {
			block[i]++
		}
		if rss, cpu, err = usage(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if rss < len(block) {
		t.Errorf("resident memory %d is less than what was touched", rss)
	}
	runtime.KeepAlive(block)
}
