package containerlogreceiver

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeEngine imitates what other engines than the one at hand do, as far as containers.md section 3 has it measured or read in source.
type fakeEngine struct {
	t        testing.TB
	server   *httptest.Server
	host     string
	version  string // of the API
	minimum  string // refuses older ones, as Docker 29 does
	podman   bool   // since is exclusive, stamps have an offset, "died"
	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something below changes
	boxes    map[string]*fakeContainer
	made     int // containers so far
	events   []string
	requests map[string]int // logs requests by container id
	open     map[string]int // those that are not ended
}

type fakeContainer struct {
	id, name, image, driver string
	labels                  map[string]string
	env                     []string
	tty                     bool
	restart                 string
	autoRemove              bool
	state                   string // running, exited, restarting, dead
	started                 time.Time
	log                     []fakeRecord
	status                  int               // answer of a logs request instead of the log
	links                   []string          // names in other containers, as a list has them
	mute                    int               // inspects that are still to fail
	stuck                   bool              // inspects are not answered
	options                 map[string]string // of the log driver
	leaky                   bool              // follows leave out every other record that comes while they are open
	deaf                    int               // follows opened up to this record give nothing behind it
	silent                  int               // logs requests that are still to be left without an answer
	truncated               int               // so many records were cut off by hand, see [errTailless]; 0: none
}

// breaks is a status: the connection is closed before an answer, as by an engine that is killed.
const breaks = -1

type fakeRecord struct {
	stderr bool
	at     time.Time
	text   string
}

func newFakeEngine(t testing.TB, adjust func(*fakeEngine)) *fakeEngine {
	e := &fakeEngine{t: t, version: "1.51", minimum: "1.24", changed: make(chan struct{}), boxes: map[string]*fakeContainer{}, requests: map[string]int{}, open: map[string]int{}}
	if adjust != nil {
		adjust(e)
	}
	e.host = "unix://" + filepath.Join(t.TempDir(), "e.sock")
	e.start()
	return e
}

func (e *fakeEngine) start() {
	listener, err := net.Listen("unix", strings.TrimPrefix(e.host, "unix://"))
	require.NoError(e.t, err)
	e.server = httptest.NewUnstartedServer(e)
	e.server.Listener = listener
	e.server.Start()
	e.t.Cleanup(e.server.Close)
}

// stop ends the engine with all its connections.
func (e *fakeEngine) stop() {
	e.server.CloseClientConnections()
	e.server.Close()
}

// change does something to the state and tells those who wait.
func (e *fakeEngine) change(do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	do()
	close(e.changed)
	e.changed = make(chan struct{})
}

// run makes a container that runs, and its start event.
func (e *fakeEngine) run(c *fakeContainer) *fakeContainer {
	e.change(func() {
		e.made++
		c.id = fmt.Sprintf("%064x", e.made)
		c.state, c.started = "running", time.Now()
		if c.name == "" {
			c.name = "box" + strconv.Itoa(e.made-1)
		}
		e.boxes[c.id] = c
		e.event("start", c)
	})
	return c
}

// event is called within change.
func (e *fakeEngine) event(action string, c *fakeContainer) {
	attributes := map[string]string{}
	for key, value := range c.labels {
		attributes[key] = value
	}
	attributes["name"], attributes["image"] = c.name, c.image // in this order, as Docker does
	if action == "die" {
		attributes["exitCode"] = "7"
	}
	now := time.Now()
	text, err := json.Marshal(map[string]any{
		"Type": "container", "Action": action, "Actor": map[string]any{"ID": c.id, "Attributes": attributes}, "time": now.Unix(), "timeNano": now.UnixNano(),
	})
	require.NoError(e.t, err)
	e.events = append(e.events, string(text))
}

// write appends lines to the log, stamped now.
func (e *fakeEngine) write(c *fakeContainer, lines ...string) {
	e.change(func() {
		for _, line := range lines {
			c.log = append(c.log, fakeRecord{at: time.Now(), text: line + "\n"})
		}
	})
}

// end lets the run of a container end.
func (e *fakeEngine) end(c *fakeContainer, state string) {
	e.change(func() {
		c.state = state
		action := "die"
		if e.podman {
			action = "died"
		}
		e.event(action, c)
	})
}

// remove takes a container that has ended away, with its log.
func (e *fakeEngine) remove(c *fakeContainer) {
	e.change(func() {
		delete(e.boxes, c.id)
		action := "destroy"
		if e.podman {
			action = "remove"
		}
		e.event(action, c)
	})
}

func (e *fakeEngine) restart(c *fakeContainer) {
	e.change(func() {
		c.state, c.started = "running", time.Now()
		e.event("start", c)
	})
}

func (e *fakeEngine) logsRequests(c *fakeContainer) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.requests[c.id]
}

// openLogs counts the logs requests that are not ended.
func (e *fakeEngine) openLogs(c *fakeContainer) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open[c.id]
}

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	e.mu.Lock()
	version, minimum := e.version, e.minimum
	e.mu.Unlock()
	if rest, ok := strings.CutPrefix(path, "/v"); ok {
		var asked string
		asked, path, _ = strings.Cut(rest, "/")
		path = "/" + path
		if minor(asked) < minor(minimum) || minor(asked) > minor(version) {
			fail(w, http.StatusBadRequest, "client version "+asked+" is not supported")
			return
		}
	}
	switch path {
	case "/_ping":
		w.Header().Set("Api-Version", version)
		w.Header().Set("Ostype", "linux")
	case "/info":
		answer(w, map[string]any{"ID": "FAKE", "Name": "fakehost", "SystemTime": time.Now().Format(time.RFC3339Nano)})
	case "/version":
		components := []map[string]any{{"Name": "Engine"}}
		if e.podman {
			components = []map[string]any{{"Name": "Podman Engine"}}
		}
		answer(w, map[string]any{"ApiVersion": version, "Components": components})
	case "/events":
		e.serveEvents(w, r)
	case "/containers/json":
		e.serveList(w)
	default:
		e.serveContainer(w, r, path)
	}
}

func minor(version string) int {
	_, text, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(text)
	return n
}

func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func answer(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(content)
}

func (e *fakeEngine) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e.mu.Lock()
	sent := len(e.events)
	e.mu.Unlock()
	flush(w)
	for {
		e.mu.Lock()
		events, changed := e.events[sent:], e.changed
		sent = len(e.events)
		e.mu.Unlock()
		for _, event := range events {
			_, _ = w.Write([]byte(event + "\n"))
		}
		flush(w)
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

func (e *fakeEngine) serveList(w http.ResponseWriter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []map[string]any{}
	for _, c := range e.boxes {
		list = append(list, map[string]any{"Id": c.id, "Names": append(c.links, "/"+c.name), "Image": c.image, "State": c.state, "Labels": c.labels})
	}
	answer(w, list)
}

func (e *fakeEngine) serveContainer(w http.ResponseWriter, r *http.Request, path string) {
	parts := strings.Split(strings.TrimPrefix(path, "/containers/"), "/")
	e.mu.Lock()
	c := e.boxes[parts[0]]
	if c == nil {
		e.mu.Unlock()
		fail(w, http.StatusNotFound, "No such container: "+parts[0])
		return
	}
	if parts[1] == "json" {
		for changed := e.changed; c.stuck && r.Context().Err() == nil; changed = e.changed {
			e.mu.Unlock()
			select {
			case <-changed:
			case <-r.Context().Done():
			}
			e.mu.Lock()
		}
		defer e.mu.Unlock()
		if c.mute > 0 {
			c.mute--
			fail(w, http.StatusInternalServerError, "the engine has trouble")
			return
		}
		answer(w, map[string]any{
			"Id": c.id, "Name": "/" + c.name, "Image": "sha256:" + c.id,
			"State":      c.inspected(),
			"Config":     map[string]any{"Image": c.image, "Labels": c.labels, "Env": c.env, "Tty": c.tty},
			"HostConfig": map[string]any{"LogConfig": map[string]any{"Type": c.driver, "Config": c.options}, "RestartPolicy": map[string]any{"Name": c.restart}, "AutoRemove": c.autoRemove},
		})
		return
	}
	e.requests[c.id]++
	e.open[c.id]++
	status, silent := c.status, c.silent > 0
	if silent {
		c.silent--
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.open[c.id]--
	}()
	switch {
	case silent:
		<-r.Context().Done()
		return
	case status == breaks:
		panic(http.ErrAbortHandler)
	case status != 0:
		fail(w, status, "configured logging driver does not support reading")
		return
	}
	e.serveLogs(w, r, c)
}

// inspected is the state as an inspect has it. One that is dead could not be removed.
func (c *fakeContainer) inspected() map[string]any {
	state := map[string]any{
		"Running": c.state == "running" || c.state == "restarting", "Restarting": c.state == "restarting",
		"StartedAt": c.started.Format(time.RFC3339Nano), "Status": c.state,
	}
	if c.state == "dead" {
		state["Dead"], state["Error"] = true, "unable to remove filesystem for "+c.id+": directory not empty"
	}
	return state
}

func (e *fakeEngine) serveLogs(w http.ResponseWriter, r *http.Request, c *fakeContainer) {
	query := r.URL.Query()
	follow := query.Get("follow") == "1"
	e.mu.Lock()
	next := c.truncated
	if n, err := strconv.Atoi(query.Get("tail")); err == nil {
		next = max(0, len(c.log)-n)
		if c.truncated > 0 {
			e.mu.Unlock()
			flush(w)
			<-r.Context().Done()
			return
		}
	}
	deaf, old := c.deaf, len(c.log)
	if c.truncated > 0 {
		deaf = old
	}
	e.mu.Unlock()
	since := parseSince(query.Get("since"))
	if !e.podman {
		flush(w)
	}
	for {
		e.mu.Lock()
		log, changed, running, leaky := c.log, e.changed, c.state == "running", follow && c.leaky
		e.mu.Unlock()
		if deaf > 0 && follow {
			log = log[:min(deaf, len(log))]
		}
		for ; next < len(log); next++ {
			record := log[next]
			if leaky && next >= old && (next-old)%2 == 0 {
				continue
			}
			if record.at.Before(since) || (e.podman && record.at.Equal(since)) {
				continue
			}
			if (record.stderr && query.Get("stderr") == "1") || (!record.stderr && query.Get("stdout") == "1") {
				_, _ = w.Write(e.frame(c, record))
			}
		}
		flush(w)
		if !follow || !running {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func parseSince(text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	seconds, nanos, _ := strings.Cut(text, ".")
	s, _ := strconv.ParseInt(seconds, 10, 64)
	n, _ := strconv.ParseInt(nanos, 10, 64)
	return time.Unix(s, n)
}

func (e *fakeEngine) frame(c *fakeContainer, record fakeRecord) []byte {
	stamp := record.at.UTC().Format("2006-01-02T15:04:05.000000000Z07:00")
	if e.podman {
		stamp = record.at.In(time.FixedZone("", 3600)).Format("2006-01-02T15:04:05.000000000Z07:00")
	}
	content := stamp + " " + record.text
	if c.tty {
		return []byte(content)
	}
	header := make([]byte, 8, 8+len(content))
	header[0] = 1
	if record.stderr {
		header[0] = 2
	}
	binary.BigEndian.PutUint32(header[4:], uint32(len(content)))
	return append(header, content...)
}
