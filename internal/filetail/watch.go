package filetail

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"
)

// watches are the directories of which the kernel tells what happens in them. Its events are hints: what they say is looked at, and what they
// do not say is found by the next reconcile. It is used by the discovery task only.
type watches struct {
	notify *fsnotify.Watcher // nil: nothing can be watched
	byPath map[string]*watch
	byID   map[id]*watch
	full   bool // the kernel's limit was hit in this reconcile: no use to ask again before the next
	told   bool // the log has told of that
}

// watch is one watched directory. The kernel knows it once, also where several paths lead to it.
type watch struct {
	path    string
	id      id
	dirs    []*directory
	targets map[string]*entry // by name: what a link elsewhere leads to
}

func newWatches(e *Engine) *watches {
	w := &watches{byPath: make(map[string]*watch), byID: make(map[id]*watch)}
	if e.Polling {
		return w
	}
	notify, err := fsnotify.NewWatcher() // events wait in the kernel, which makes one of those that are alike
	if err != nil {
		e.Logger.Warn("The kernel gives no directory watches; directories are polled", zap.Error(err))
		return w
	}
	w.notify = notify
	return w
}

func (w *watches) close() {
	if w.notify != nil {
		_ = w.notify.Close() // watches end with it, whatever it says
	}
}

func (w *watches) events() chan fsnotify.Event {
	if w.notify == nil {
		return nil
	}
	return w.notify.Events
}

func (w *watches) errors() chan error {
	if w.notify == nil {
		return nil
	}
	return w.notify.Errors
}

// add watches the directory, or goes on watching it: a watch that has ended unnoticed is renewed by that. It returns nil where that is not
// possible.
func (w *watches) add(e *Engine, path string, known id) *watch {
	if w.notify == nil {
		return nil
	}
	found := w.byID[known]
	if found == nil && (w.full || !tellsChanges(orDot(path))) {
		return nil
	}
	if found != nil {
		path = found.path
	}
	if err := w.notify.Add(orDot(path)); err != nil {
		w.drop(found)
		w.full = true
		if !w.told {
			w.told = true
			e.Logger.Warn("A directory cannot be watched; it is polled", zap.String("path", path), zap.Error(err))
		}
		return nil
	}
	if found == nil {
		w.drop(w.byPath[path]) // another directory is there now
		found = &watch{path: path, id: known, targets: make(map[string]*entry)}
		w.byPath[path], w.byID[known] = found, found
	}
	return found
}

// drop forgets a watch; those that were found by it are polled until it is there again.
func (w *watches) drop(old *watch) {
	if old == nil {
		return
	}
	for _, dir := range old.dirs {
		dir.watch = nil
	}
	for _, ent := range old.targets {
		ent.watch = nil
	}
	old.dirs, old.targets = nil, nil
	_ = w.notify.Remove(orDot(old.path)) // it may have ended by itself
	delete(w.byPath, old.path)
	delete(w.byID, old.id)
}

// leave ends the interest of a directory in its watch.
func (w *watches) leave(dir *directory) {
	if dir.watch == nil {
		return
	}
	old := dir.watch
	dir.watch = nil
	old.dirs = slices.DeleteFunc(old.dirs, func(d *directory) bool { return d == dir })
	w.unused(old)
}

// count returns the number of directories that are watched.
func (w *watches) count() (n int64) {
	for _, watch := range w.byPath {
		n += int64(len(watch.dirs))
	}
	return n
}

func (w *watches) unused(old *watch) {
	if len(old.dirs) == 0 && len(old.targets) == 0 {
		w.drop(old)
	}
}

// of returns the watch that an event belongs to and the name in it. The name is empty for an event of the directory itself.
func (w *watches) of(event string) (found *watch, name string) {
	if i := strings.LastIndexAny(event, pathSeparators); i >= 0 {
		dir := event[:i]
		if dir == "." {
			dir = ""
		}
		if found = w.byPath[dir]; found != nil {
			return found, event[i+1:]
		}
	}
	return w.byPath[event], ""
}

const pathSeparators = "/" + string(filepath.Separator)

// orDot makes a path of the place where relative patterns begin.
func orDot(path string) string {
	if path == "" {
		return "."
	}
	return path
}
