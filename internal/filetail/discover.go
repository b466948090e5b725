package filetail

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

const (
	// A look at polled directories takes at most one part in pollShare of the time: with very many files the interval grows.
	pollShare = 20

	// There is at most one round of events in eventPause, and at most maxEvents of them in a round. What is written line by line is then
	// read in larger pieces, and the kernel makes one event of the writes to a file which nobody has asked it for yet.
	eventPause = 5 * time.Millisecond
	maxEvents  = 4096
	// eventWait is how long an event may take from the kernel to the discovery task.
	eventWait = time.Millisecond
	// nameChanges are events after which something else may be at a name.
	nameChanges = fsnotify.Create | fsnotify.Rename | fsnotify.Remove
)

// discovery is what the discovery task knows. Nothing of it is shared.
type discovery struct {
	*Engine
	watches  *watches
	roots    []*directory
	due      []*directory // to be looked at as a whole
	polled   map[*directory]struct{}
	pollAt   time.Time
	fresh    []*file           // found in this look
	appeared []*entry          // which lead to some of them, or to nothing any more
	slipped  map[string]bool   // logs of which a generation was not where this look had seen its name
	skips    map[id]int64      // what start_at end skips of files that cannot be read yet
	seen     map[*pattern]bool // patterns that an earlier run has looked for
	warned   map[string]bool   // paths of which the log has told that they cannot be read
	first    bool              // this is the first look
	unmarked bool              // the store does not yet say that the patterns were looked for
	checked  time.Time         // when the files of stored positions were looked for
	round    uint64            // counts the rounds of events
	wait     *time.Timer       // for an event
}

// discover looks for files until ctx ends.
func (e *Engine) discover(ctx context.Context) {
	d := &discovery{
		Engine:  e,
		polled:  make(map[*directory]struct{}),
		skips:   make(map[id]int64),
		slipped: make(map[string]bool),
		seen:    make(map[*pattern]bool),
		warned:  make(map[string]bool),
		wait:    time.NewTimer(0),
	}
	defer d.wait.Stop()
	d.plant()
	if d.loadPositions(ctx) != nil {
		return
	}
	for _, p := range d.patterns {
		d.seen[p] = d.marked[p.marker(d.Exclude)]
	}
	d.watches = newWatches(e)
	defer d.watches.close()
	defer d.lookNoMore(ctx)
	d.first = true
	d.reconcile(ctx)
	d.first = false
	d.follow(ctx)
}

// plant makes the roots of the directory tree out of the patterns.
func (d *discovery) plant() {
	for _, p := range d.patterns {
		i := slices.IndexFunc(d.roots, func(dir *directory) bool { return dir.path == p.root })
		if i < 0 {
			i = len(d.roots)
			d.roots = append(d.roots, newDirectory(nil, p.root, nil))
		}
		d.roots[i].states = append(d.roots[i].states, state{p, 0})
	}
}

// follow does what the kernel tells and the clock asks for.
func (d *discovery) follow(ctx context.Context) {
	tick := time.NewTicker(d.PollInterval)
	defer tick.Stop()
	truth := time.NewTicker(d.ReconcileInterval)
	defer truth.Stop()
	var last time.Time // when the last round of events began
	for {
		select {
		case <-ctx.Done():
			return
		case event := <-d.watches.events():
			_ = lifecycle.Sleep(ctx, time.Until(last.Add(eventPause))) // the loop looks at ctx
			last = time.Now()
			d.events(event)
		case err := <-d.watches.errors():
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				d.reconcile(ctx)
			}
		case <-d.cuts:
			d.lookAfterCuts()
		case <-tick.C:
			d.touchPending()
			d.markPatterns()
			d.poll(ctx)
		case <-truth.C:
			d.reconcile(ctx)
		}
		d.lookWhereDue(ctx)
		d.countGaps(ctx)
	}
}

// reconcile compares all that the patterns find with what is followed.
func (d *discovery) reconcile(ctx context.Context) {
	d.watches.full = false
	losses := d.takeLosses()
	defer func() { d.tellLosses(ctx, losses) }()
	d.moreHandles()
	for _, root := range d.roots {
		d.lookIn(ctx, root, true)
	}
	if ctx.Err() != nil {
		return
	}
	if d.first {
		d.recover(ctx)
		d.unmarked = true
	}
	d.settle()
	d.expire(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look++
	d.modes.notify, d.modes.poll = d.watches.count(), int64(len(d.polled))
}

// events handles an event and those that have come behind it. What is left in the kernel waits for the next round, and what is at a name now may be
// found before what was there, which is to be read first. So where more is likely it is waited for a little: behind the events of several files,
// and where names have changed. Of a file that is written to again the next round is early enough.
func (d *discovery) events(event fsnotify.Event) {
	d.round++
	renamed := false
	for n, ok := 1, true; ok; n++ {
		again := d.event(event)
		renamed = renamed || event.Has(nameChanges)
		if n == maxEvents {
			return
		}
		event, ok = d.another(renamed || n > 1 && !again)
	}
}

// another returns the next event if it has come, or comes soon.
func (d *discovery) another(soon bool) (event fsnotify.Event, ok bool) {
	if soon {
		d.wait.Reset(eventWait)
		defer d.wait.Stop()
		select {
		case event = <-d.watches.events():
			return event, true
		case <-d.wait.C:
			return event, false
		}
	}
	const tries = 4 // the goroutine that hands it over can run on another processor
	for range tries {
		runtime.Gosched()
		select {
		case event = <-d.watches.events():
			return event, true
		default:
		}
	}
	return event, false
}

// event takes an event as a hint where to look. It reports whether it is of a file that was written to in this round before.
func (d *discovery) event(event fsnotify.Event) (again bool) {
	w, name := d.watches.of(event.Name)
	if w == nil {
		return false
	}
	dirs := slices.Clone(w.dirs) // a look may change them
	if name == "" {              // the directory itself
		if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
			d.watches.drop(w)
			for _, dir := range dirs {
				d.schedule(dir, true)
			}
		}
		return false
	}
	if ent := w.targets[name]; ent != nil {
		again = d.hint(ent.dir, ent.name, event)
	}
	for _, dir := range dirs {
		again = d.hint(dir, name, event) || again
	}
	return again
}

// hint looks at one name in a directory, and reports what event does.
func (d *discovery) hint(dir *directory, name string, event fsnotify.Event) (again bool) {
	if dir.dropped() {
		return false
	}
	ent := dir.entries[name]
	if event.Op == fsnotify.Write && ent != nil && ent.here {
		again, ent.round = ent.round == d.round, d.round
		d.mu.Lock()
		defer d.mu.Unlock()
		d.touchLocked(ent.file)
		return again
	}
	if child := d.lookAt(dir, name); child != nil && !event.Has(fsnotify.Write) {
		d.watches.leave(child) // another directory may have come there, even under the same id
		d.schedule(child, true)
	}
	if ent != nil && !ent.here && event.Has(fsnotify.Rename) {
		d.appeared = append(d.appeared, ent) // not where it is deleted: many may be, one by one
	}
	// What a link leads to may have changed with a name that no pattern asks for.
	if dir.links && ent == nil && !event.Has(fsnotify.Write) {
		d.schedule(dir, false)
	}
	return false
}

// schedule has a directory looked at, with deep set also all below it.
func (d *discovery) schedule(dir *directory, deep bool) {
	dir.deep = dir.deep || deep
	if !dir.due {
		dir.due = true
		d.due = append(d.due, dir)
	}
}

// lookWhereDue looks at the directories of which an event made that necessary.
func (d *discovery) lookWhereDue(ctx context.Context) {
	due := d.due
	d.due = nil
	for _, dir := range due {
		if dir.due && !dir.dropped() {
			d.lookIn(ctx, dir, dir.deep)
		}
	}
	d.settle()
}

// poll looks at the directories of which the kernel does not tell.
func (d *discovery) poll(ctx context.Context) {
	began := time.Now()
	if len(d.polled) == 0 || began.Before(d.pollAt) {
		return
	}
	for _, dir := range slices.Collect(maps.Keys(d.polled)) { // a look may change them
		if !dir.dropped() {
			d.lookIn(ctx, dir, false)
		}
	}
	d.settle()
	d.pollAt = time.Now().Add(time.Since(began) * pollShare)
}

// touchPending has files read for which no event will come: those that are over when they were quiet for long enough.
func (d *discovery) touchPending() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handles.learned = false
	for f := range d.pending {
		d.touchLocked(f)
	}
}
