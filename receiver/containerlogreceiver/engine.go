package containerlogreceiver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/sockets"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/semaphore"
)

const (
	// callTimeout bounds every request that is no stream; a loaded engine takes seconds to list.
	callTimeout = 30 * time.Second
	// readBuffer is what a busy stream reads at a time, and so the size of its batches.
	readBuffer = 64 << 10
	// oldestVersion is what an engine speaks that does not say what it speaks.
	oldestVersion = "1.24"
)

// engine is the connection to the container engine: one transport for the lifetime of the receiver, and on it a client for the API
// version that was negotiated last. It is safe for concurrent use.
//
// Through ssh there are two. There each connection is a process and a log-in; so the requests that are no streams have a few for themselves,
// which stay.
type engine struct {
	address   address
	transport *http.Transport     // of streams; of all, where there is one
	calls     *http.Transport     // of what is no stream
	atOnce    *semaphore.Weighted // bounds that
	ssh       *sshDialer          // nil: another way
	open      atomic.Int64        // connections
	current   atomic.Pointer[session]
}

// session is what is known about the engine since it was connected last.
type session struct {
	*client.Client // of what is no stream
	streams        *client.Client
	atOnce         *semaphore.Weighted

	daemonID string
	hostname string
	root     string // where it keeps its files
	podman   bool
	oldAPI   bool      // up to 1.41: lines are repeated when a log rotates, and compressed files are skipped (see [stream.options])
	clock    time.Time // of the engine, at the time of the request
	asked    time.Time // ours, then
}

func newEngine(address address) (*engine, error) {
	e := &engine{address: address, atOnce: semaphore.NewWeighted(math.MaxInt64)}
	e.transport = &http.Transport{MaxIdleConns: 6, IdleConnTimeout: 30 * time.Second, ReadBufferSize: readBuffer, TLSClientConfig: address.tls}
	if err := sockets.ConfigureTransport(e.transport, address.scheme(), address.path()); err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", address.host, err)
	}
	dial := e.transport.DialContext
	if address.scheme() == "ssh" {
		arguments, err := sshArguments(address.host)
		if err != nil {
			return nil, err
		}
		e.ssh = newSSHDialer(arguments)
		dial = e.ssh.dial
	}
	e.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newConnection(conn, &e.open), nil
	}
	e.transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := e.transport.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newSecure(ctx, conn.(*connection), address.tls, addr)
	}
	e.calls = e.transport
	if e.ssh != nil {
		e.transport.MaxIdleConnsPerHost = e.transport.MaxIdleConns // of logs that are read to their end one after the other
		e.calls, e.atOnce = e.transport.Clone(), semaphore.NewWeighted(sshCalls)
		// With a bound, one that finds all connections busy does not dial another before one of them is free.
		e.calls.MaxConnsPerHost, e.calls.MaxIdleConnsPerHost, e.calls.IdleConnTimeout = sshCalls, sshCalls, sshIdle
	}
	return e, nil
}

// connections returns how many connections to the engine are open.
func (e *engine) connections() int64 { return e.open.Load() }

func (e *engine) close() error {
	e.closeIdle()
	if e.ssh != nil {
		e.ssh.close()
	}
	return nil
}

func (e *engine) closeIdle() {
	e.transport.CloseIdleConnections()
	e.calls.CloseIdleConnections()
}

// client makes a client for an API version on a transport that others share.
func (e *engine) client(transport *http.Transport, version string) (*client.Client, error) {
	return client.NewClientWithOpts(
		client.WithHost(e.address.api()),
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithVersion(version),
		// Requests for logs last as long as containers do: they make no useful spans.
		client.WithTraceOptions(
			otelhttp.WithTracerProvider(tracenoop.NewTracerProvider()), otelhttp.WithMeterProvider(metricnoop.NewMeterProvider())),
	)
}

// connect finds out what engine answers and which API version it speaks. An engine can be another one each time.
func (e *engine) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	e.closeIdle() // a peer that has vanished leaves connections behind that look alive
	version := e.address.version
	if version == "" {
		probe, err := e.client(e.calls, "")
		if err != nil {
			return nil, err
		}
		ping, err := probe.Ping(ctx)
		if err != nil {
			return nil, err
		}
		version = negotiated(ping.APIVersion)
	}
	cli, err := e.client(e.calls, version)
	if err != nil {
		return nil, err
	}
	streams, err := e.client(e.transport, version)
	if err != nil {
		return nil, err
	}
	info, err := cli.Info(ctx)
	asked := time.Now()
	if err != nil {
		return nil, err
	}
	server, err := cli.ServerVersion(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{
		Client: cli, streams: streams, atOnce: e.atOnce,
		daemonID: info.ID, hostname: info.Name, root: info.DockerRootDir, oldAPI: versions.LessThanOrEqualTo(server.APIVersion, "1.41"),
	}
	for _, component := range server.Components {
		if strings.HasPrefix(component.Name, "Podman") {
			s.podman, s.oldAPI = true, false
			s.daemonID = podmanID(info)
		}
	}
	s.clock, s.asked = engineClock(info), asked
	e.current.Store(s)
	return s, nil
}

// call waits until one request more may be made that is no stream, and bounds it from then on. It has ended when done is called.
func (s *session) call(ctx context.Context, limit time.Duration) (_ context.Context, done func(), err error) {
	if err := s.atOnce.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, func() { cancel(); s.atOnce.Release(1) }, nil
}

// whoAnswers returns the id of the engine that answers now.
func (s *session) whoAnswers(ctx context.Context) (string, error) {
	ctx, done, err := s.call(ctx, callTimeout)
	if err != nil {
		return "", err
	}
	defer done()
	info, err := s.Info(ctx)
	if s.podman {
		return podmanID(info), err
	}
	return info.ID, err
}

// podmanID stands for the ID of a Podman, which makes up a new one for each request.
func podmanID(info system.Info) string { return "podman-" + info.Name }

func negotiated(server string) string {
	if server == "" {
		server = oldestVersion
	}
	if versions.LessThan(server, api.DefaultVersion) {
		return server
	}
	return api.DefaultVersion
}

func engineClock(info system.Info) time.Time {
	clock, err := time.Parse(time.RFC3339Nano, info.SystemTime)
	if err != nil {
		return time.Now()
	}
	return clock
}

// runtime returns the value of container.runtime.name.
func (s *session) runtime() string {
	if s.podman {
		return "podman"
	}
	return "docker"
}

// list returns all containers that match, also those that do not run.
func (s *session) list(ctx context.Context, match ...filters.KeyValuePair) ([]container.Summary, error) {
	ctx, done, err := s.call(ctx, callTimeout)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(match...)})
}

// inspect returns what the engine knows about a container, if it tells that within the limit.
func (s *session) inspect(ctx context.Context, id string, limit time.Duration) (container.InspectResponse, error) {
	ctx, done, err := s.call(ctx, limit)
	if err != nil {
		return container.InspectResponse{}, err
	}
	defer done()
	info, err := s.ContainerInspect(ctx, id)
	if err == nil && (info.ContainerJSONBase == nil || info.State == nil) {
		err = errors.New("the engine's answer has no state")
	}
	return info, err
}

// events subscribes to what happens to containers after the engine's time given. The error channel is closed when it is over.
func (s *session) events(ctx context.Context, since time.Time) (<-chan events.Message, <-chan error) {
	want := filters.NewArgs(filters.Arg("type", "container"))
	for _, action := range []string{"start", "die", "died", "destroy", "remove", "rename", "oom", "health_status"} {
		want.Add("event", action)
	}
	return s.streams.Events(ctx, events.ListOptions{Since: engineTime(since.UnixNano() + 1), Filters: want})
}

// engineTime formats nanoseconds as the API wants them; all nine digits, because fewer are scaled.
func engineTime(nanos int64) string {
	const second = int64(time.Second)
	return fmt.Sprintf("%d.%09d", nanos/second, nanos%second)
}
