package filetail

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// maxWorkers is where more of them would only wait for the consumer.
const maxWorkers = 8

// Settings say what an [Engine] reads, and how.
type Settings struct {
	// Include and Exclude are glob patterns, with ** for any number of directories.
	Include, Exclude []string
	// StartAtEnd skips what files hold that are there at the first look and were never read.
	StartAtEnd bool
	// PollInterval is the time between two looks at directories of which the kernel does not tell what happens in them.
	PollInterval time.Duration
	// ReconcileInterval is the time between two looks at all directories, for what the kernel may not have told.
	ReconcileInterval time.Duration
	// Polling has all directories polled.
	Polling bool
	// ByPath makes the path the identity of a file, for file systems whose inodes are not stable.
	ByPath bool
	// ExcludeOlderThan leaves out files that were not changed for that long; 0 leaves out none.
	ExcludeOlderThan time.Duration
	// MaxOpenFiles bounds the files that are open at a time; 0 is half of what the process may open.
	MaxOpenFiles int
	// Compression says which files are compressed: none (empty), all of them by gzip or zstd, or what their first bytes say (auto).
	Compression string
	// ReadNew skips what a file holds when it was truncated, instead of reading it from its beginning.
	ReadNew bool
	// Delete deletes files that were read to their end, when that is delivered and stored and nothing has come for RotateWait.
	Delete bool
	// Lock has a file read only while no one else has it locked for writing.
	Lock bool
	// RotateWait is how long a file that was renamed away or deleted has to be quiet before it is closed: writers go on writing
	// to it until they open the new one.
	RotateWait time.Duration
	// MaxLogSize is the length in bytes at which a line is split.
	MaxLogSize int
	Text       Text

	FileAttributes FileAttributes
}

// Engine follows files. It is started once.
type Engine struct {
	Settings
	*capture.Capture
	patterns []*pattern
	scripts  scripts
	rules    *lineformat.Rules
	joined   bool   // a record may be of more than one line
	trims    bool   // not every record is taken as it is
	longest  int    // bytes of the longest line with its end
	owners   owners // discovery's
	resource *emit.Resource

	mu      sync.Mutex
	files   map[id]*file
	queue   queue
	handles handles
	opens   int64               // bytes of lines and records that wait for their end
	due     map[*file]time.Time // when something will have waited for too long
	pending map[*file]struct{}  // to be read now and then: no event will say that they are over
	stored  map[id]position     // of files that are not followed now
	byInode map[uint64]id       // of stored positions
	logs    map[string]*file    // by the path that leads to it
	kin     map[string][]id     // generations of the log with the path, followed or stored
	cut     []cut               // what they held before may have been copied
	cuts    chan struct{}       // has a token when cut is not empty
	losses  []loss              // to be told, unless they were compressed
	blind   bool                // discovery has ended

	gaps      atomic.Int64 // that the metric does not have yet
	unpackers unpackers
	lost      map[id]bool     // stored, but not readable: read from the beginning
	allNew    bool            // an unknown number of positions was lost: start_at must not skip anything
	marked    map[string]bool // markers of the patterns that earlier runs have looked for
	look      uint64          // number of looks at everything
	modes     struct{ notify, poll int64 }
}

// defaultHandles is the bound of open files where the system has none.
const defaultHandles = 4096

// New makes an engine that delivers through c.
func New(c *capture.Capture, settings Settings) *Engine {
	e := &Engine{
		Settings: settings,
		Capture:  c,
		resource: &emit.Resource{Attributes: pcommon.NewMap()},
		files:    make(map[id]*file),
		queue:    newQueue(),
		handles:  handles{most: settings.MaxOpenFiles, idle: list.New()},
		due:      make(map[*file]time.Time),
		pending:  make(map[*file]struct{}),
		stored:   make(map[id]position),
		byInode:  make(map[uint64]id),
		logs:     make(map[string]*file),
		kin:      make(map[string][]id),
		cuts:     make(chan struct{}, 1),
		lost:     make(map[id]bool),
		marked:   make(map[string]bool),
	}
	e.unpackers.limit = max(1, workers()/2)
	if e.handles.most == 0 {
		e.handles.most = handleLimit()
	}
	e.handles.limit = e.handles.most
	for _, text := range settings.Include {
		e.patterns = append(e.patterns, newPatterns(text)...)
	}
	return e
}

// Start starts the tasks: one that discovers files, and a few that read them. They end with the capture.
func (e *Engine) Start() error {
	e.OnShutdown(e.close)
	err := errors.Join(
		e.prepare(),
		e.Telemetry.RegisterLogcaptureFilesWatchedCallback(e.Observe(e.watched)),
		e.Telemetry.RegisterLogcaptureFilesOpenCallback(e.Observe(e.opened)),
		e.Telemetry.RegisterLogcaptureDiscoveryModeCallback(e.observeModes),
	)
	if err != nil {
		return err
	}
	e.Expect("discovery", func() int { return 1 })
	e.Expect("worker", workers)
	e.Go("discovery", "", e.discover)
	if e.Text.waits() {
		e.Go("flush", "", e.flush)
	}
	for i := range workers() {
		e.Go("worker", strconv.Itoa(i), e.work)
	}
	return nil
}

// workers is how many tasks read.
func workers() int { return min(runtime.GOMAXPROCS(0), maxWorkers) }

// close closes what the tasks, which are over, have left open.
func (e *Engine) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var first error
	for _, f := range e.files {
		if f.codec != nil {
			f.codec.stop()
		}
		if f.handle != nil {
			first = cmp.Or(first, f.handle.Close())
			f.handle = nil
			e.handles.open--
		}
	}
	return first
}

func (e *Engine) watched() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int64(len(e.files))
}

func (e *Engine) opened() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int64(e.handles.open)
}

func (e *Engine) observeModes(_ context.Context, o metric.Int64Observer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	o.Observe(e.modes.notify, e.With(attribute.String("mode", "notify")))
	o.Observe(e.modes.poll, e.With(attribute.String("mode", "poll")))
	return nil
}

// loadPositions takes over what an earlier run has stored. It returns an error only when ctx ends.
func (e *Engine) loadPositions(ctx context.Context) error {
	payloads, damaged, err := e.LoadPositions(ctx)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for key, payload := range payloads {
		if strings.HasPrefix(key, markerPrefix) {
			e.marked[key] = true
			continue
		}
		p, err := decodePosition(payload)
		if err != nil || p.id.key() != key {
			e.Logger.Error("A stored position is damaged; its file is read again from the beginning", zap.String("key", key), zap.Error(err))
			e.lost[idOfKey(key)] = true
			continue
		}
		e.stored[p.id] = p
		e.byInode[p.id.inode] = p.id
		e.kinLocked(p.path, p.id)
	}
	if damaged != nil {
		e.allNew = damaged.Index
		for _, key := range damaged.Keys {
			e.lost[idOfKey(key)] = true
		}
	}
	return nil
}

// retire ends the following of a file that is gone and read to its end. It reports false where the file has come back meanwhile.
func (e *Engine) retire(f *file) bool {
	deleted := false
	if f.handle != nil {
		info, err := f.handle.Stat()
		deleted = err == nil && unlinked(info)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.detached.IsZero() {
		return false
	}
	if f.handle != nil {
		f.closeHandle()
		e.handles.open--
		e.roomLocked()
	}
	e.endLocked(f)
	e.keepLocked(f, deleted)
	return true
}

// endLocked takes a file that is closed out of the table.
func (e *Engine) endLocked(f *file) {
	f.retired = true
	delete(e.files, f.id)
	delete(e.pending, f)
	delete(e.due, f)
	e.opens -= int64(f.opens)
	e.relinkLocked(f)
	e.freeSuccessorsLocked(f, len(f.successors))
	if len(f.heirs) == 0 {
		e.releaseTestatorsLocked(f)
	}
}

// relinkLocked has those that wait for a file, which ends, wait for what it still waits for.
func (e *Engine) relinkLocked(f *file) {
	if f.waitsFor == 0 {
		return
	}
	for before := range e.kinOfLocked(f.log) {
		if before.hasSuccessor(f) {
			for _, s := range f.successors {
				e.linkLocked(before, s.file)
			}
		}
	}
}

// keepLocked keeps the position of a file that is not followed any more: it may come back, or its content.
func (e *Engine) keepLocked(f *file, deleted bool) {
	p := f.place
	if !f.begun {
		if f.stored == nil {
			e.strangerLocked(f.name, f.id)
			return
		}
		p = *f.stored
	}
	if deleted {
		if e.Compression == CompressionNone && len(f.heirs) > 0 { // then only what they are not stored with yet is of use
			p = position{id: p.id, path: p.path, born: p.born, open: encodeOpen(f.bequeathed())}
			f.place = p
		}
		e.buryLocked(p)
		e.strangerLocked(f.name, f.id)
		return
	}
	if f.vanished {
		p.gone = time.Now().Unix()
		e.Store.Put(f.id.key(), p.encode())
	}
	e.stored[f.id] = p
}
