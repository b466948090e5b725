//go:build linux

package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// proxy stands between the collector and an engine: it can cut connections, and it counts them where the collector has no
// say in it. It passes bytes and knows HTTP only as far as to tell which connection carries the events.
type proxy struct {
	socket, target string
	listener       net.Listener
	group          sync.WaitGroup

	mu     sync.Mutex
	open   map[*passage]bool
	most   int // open at a time
	closed bool
}

// passage is one connection, with both of its ends.
type passage struct {
	client, server net.Conn
	events         bool // guarded by proxy.mu
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	// Not t.TempDir: its path is too long for a socket.
	dir, err := os.MkdirTemp("", "lc-proxy-")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{socket: filepath.Join(dir, "s"), target: target, open: make(map[*passage]bool)}
	if p.listener, err = net.Listen("unix", p.socket); err != nil {
		t.Fatal(err)
	}
	p.group.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.listener.Close()
		p.cut(false)
		p.group.Wait()
		os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) host() string { return "unix://" + p.socket }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		if err != nil {
			client.Close() // as if the engine had
			continue
		}
		pass := &passage{client: client, server: server}
		p.mu.Lock()
		if p.closed {
			client.Close()
			server.Close()
		}
		p.open[pass] = true
		p.most = max(p.most, len(p.open))
		p.mu.Unlock()
		p.group.Go(func() { p.carry(pass) })
	}
}

// carry passes bytes both ways until either end closes.
func (p *proxy) carry(pass *passage) {
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(pass.client, pass.server)
		pass.close()
	})
	_, _ = io.Copy(io.MultiWriter(pass.server, &sniffer{p, pass}), pass.client)
	pass.close()
	back.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, pass)
}

func (pass *passage) close() {
	pass.client.Close()
	pass.server.Close()
}

// sniffer marks the connection on which the events are asked for.
type sniffer struct {
	proxy *proxy
	pass  *passage
}

func (s *sniffer) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("GET /")) {
		line, _, _ := bytes.Cut(b, []byte("\r\n"))
		s.proxy.mu.Lock()
		s.pass.events = bytes.Contains(line, []byte("/events?"))
		s.proxy.mu.Unlock()
	}
	return len(b), nil
}

// cut breaks all connections, or those that carry events, and returns how many.
func (p *proxy) cut(eventsOnly bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for pass := range p.open {
		if pass.events || !eventsOnly {
			pass.close()
			n++
		}
	}
	return n
}

// events says whether a connection is open that carries events.
func (p *proxy) events() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pass := range p.open {
		if pass.events {
			return true
		}
	}
	return false
}

// count returns how many connections are open.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

func TestProxyCountsAndCuts(t *testing.T) {
	target := filepath.Join(t.TempDir(), "t")
	listener, err := net.Listen("unix", target)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := newProxy(t, target)
	dial := func(request string) (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("unix", p.socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = listener.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { server.Close() })
		if _, err := client.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(server, make([]byte, len(request))); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	logs, server := dial("GET /v1.41/containers/x/logs?follow=1 HTTP/1.1\r\n")
	events, _ := dial("GET /v1.41/events?filters=x HTTP/1.1\r\n")
	if n := p.count(); n != 2 {
		t.Fatalf("%d connections, want 2", n)
	}
	eventually(t, readyLimit, "mark", func() string {
		if n := p.cut(true); n != 1 {
			return "none cut"
		}
		return ""
	})
	if _, err := events.Read(make([]byte, 1)); err == nil {
		t.Error("the events are not cut")
	}
	if _, err := server.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := logs.Read(make([]byte, 1)); err != nil {
		t.Errorf("the log is cut: %v", err)
	}
	eventually(t, readyLimit, "one connection", func() string {
		if p.count() != 1 {
			return "another number"
		}
		return ""
	})
}
