package filetail

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.uber.org/zap"
)

// directory is a directory in which a pattern can match.
type directory struct {
	path     string // empty: where relative patterns begin
	parent   *directory
	id       id
	states   []state
	children map[string]*directory
	entries  map[string]*entry
	watch    *watch
	linked   bool // a link leads to it, or to a directory that it is in
	links    bool // some of its entries lead elsewhere: a change of any name may be one of theirs
	remote   bool // one of the links leads to where the kernel does not tell of changes
	due      bool // to be looked at as a whole
	deep     bool // and all below it
	failing  bool // the log has told that it cannot be read
}

// entry is a path that the patterns match as a file.
type entry struct {
	dir      *directory
	name     string
	patterns []*pattern
	file     *file  // which it led to last, also when it is gone from here, until the file is done with
	here     bool   // it leads there now
	link     bool   // the name is a link
	target   string // the name that it leads to
	watch    *watch // of the directory of the target
	size     int64
	modified time.Time
	round    uint64 // of events, in which it was written to last
}

func (e *entry) path() string { return join(e.dir.path, e.name) }

func join(dir, name string) string {
	if dir == "" || os.IsPathSeparator(dir[len(dir)-1]) {
		return dir + name
	}
	return dir + string(os.PathSeparator) + name
}

func newDirectory(parent *directory, path string, states []state) *directory {
	return &directory{
		path: path, parent: parent, states: states,
		children: make(map[string]*directory), entries: make(map[string]*entry),
	}
}

// dropped says that the directory belongs to the tree no more.
func (dir *directory) dropped() bool { return dir.states == nil }

// names lists what may match in the directory. Where the patterns ask for certain names only, it is not listed.
func (dir *directory) names() ([]string, error) {
	var names []string
	for _, s := range dir.states {
		name, ok := s.literal()
		if !ok {
			return listing(orDot(dir.path))
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func listing(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// lookIn compares a directory with what is known of it, and goes on into those below it: into new ones, and with deep set into all.
func (d *discovery) lookIn(ctx context.Context, dir *directory, deep bool) {
	dir.due, dir.deep = false, false
	if !d.enter(dir) {
		d.leave(dir)
		return
	}
	names, err := dir.names()
	if d.unlisted(dir, err) {
		return
	}
	seen := make(map[string]bool, len(names))
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		seen[name] = true
		ent := dir.entries[name]
		here := ent != nil && ent.here
		if child := d.lookAt(dir, name); child != nil && (deep || child.id == id{}) {
			d.lookIn(ctx, child, deep)
		}
		if here && !ent.here {
			d.appeared = append(d.appeared, ent)
		}
	}
	for name, ent := range dir.entries {
		if !seen[name] {
			if ent.here {
				d.appeared = append(d.appeared, ent)
			}
			d.gone(ent)
			d.forget(ent)
		}
	}
	for name, child := range dir.children {
		if !seen[name] {
			d.leave(child)
		}
	}
	d.followLinks(dir)
	if dir.onTheWay() {
		d.ignore(dir)
	} else {
		d.choose(dir)
	}
}

// followLinks watches what the links in a directory lead to, where that is not done yet.
func (d *discovery) followLinks(dir *directory) {
	dir.links, dir.remote = false, false
	for _, ent := range dir.entries {
		if !ent.link || !ent.here {
			continue
		}
		dir.links = true
		if ent.watch == nil {
			d.watchTarget(ent)
		}
		dir.remote = dir.remote || ent.watch == nil
	}
}

// onTheWay says that the patterns only lead through the directory, and that what they lead to is there: nothing else is of interest in it.
func (dir *directory) onTheWay() bool {
	for _, s := range dir.states {
		name, ok := s.literal()
		if !ok || s.last() || dir.children[name] == nil {
			return false
		}
	}
	return true
}

// enter watches a directory, before it is listed so that nothing is missed. It reports false where there is none.
func (d *discovery) enter(dir *directory) bool {
	info, err := os.Stat(orDot(dir.path))
	if err != nil || !info.IsDir() {
		return err != nil && !missing(err)
	}
	known, err := idOfPath(orDot(dir.path), info)
	if err != nil {
		return true
	}
	if known != dir.id {
		d.watches.leave(dir)
		target, err := filepath.EvalSymlinks(orDot(dir.path))
		dir.id, dir.linked = known, err == nil && target != filepath.Clean(orDot(dir.path))
	}
	if dir.onTheWay() {
		d.ignore(dir)
		return true
	}
	w := d.watches.add(d.Engine, dir.path, known)
	if w != dir.watch {
		d.watches.leave(dir)
		if w != nil {
			w.dirs = append(w.dirs, dir)
		}
		dir.watch = w
	}
	d.choose(dir)
	return true
}

// choose has a directory polled if the kernel does not tell of what happens to its files.
func (d *discovery) choose(dir *directory) {
	if dir.watch == nil || dir.remote {
		d.polled[dir] = struct{}{}
	} else {
		delete(d.polled, dir)
	}
}

// ignore ends the watching or polling of a directory.
func (d *discovery) ignore(dir *directory) {
	d.watches.leave(dir)
	delete(d.polled, dir)
}

// missing says that there is nothing at a path, and not only no way to look.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// unlisted tells of a directory that cannot be listed, once until it can. What is known of it stays as it is.
func (d *discovery) unlisted(dir *directory, err error) bool {
	if err != nil && outOfHandles(err) {
		d.fewerHandles(err) // which tells
	} else if err != nil && !dir.failing && !missing(err) {
		d.Logger.Warn("A directory cannot be listed; it is tried again", zap.String("path", dir.path), zap.Error(err))
	}
	dir.failing = err != nil
	return err != nil
}

// leave forgets a directory that is not there any more.
func (d *discovery) leave(dir *directory) {
	for _, child := range dir.children {
		d.leave(child)
	}
	for _, ent := range dir.entries {
		d.gone(ent)
		d.leaveTarget(ent)
	}
	d.ignore(dir)
	dir.id = id{}
	if dir.parent == nil {
		return // a root may come back
	}
	delete(dir.parent.children, dir.name())
	d.schedule(dir.parent, false) // which may have to be watched now
	dir.states = nil
}

// name is the last element of the path of a directory that has a parent.
func (dir *directory) name() string {
	name := dir.path[len(dir.parent.path):]
	for len(name) > 0 && os.IsPathSeparator(name[0]) {
		name = name[1:]
	}
	return name
}

// lookAt takes notice of what a name in a directory leads to: a file that matches, or a directory that patterns lead into, which it returns.
func (d *discovery) lookAt(dir *directory, name string) *directory {
	path := join(dir.path, name)
	if ent := dir.entries[name]; ent != nil {
		d.lookAtFile(ent, path)
		if ent.here {
			return nil
		}
	}
	files, inner := match(dir.states, name)
	if len(files) == 0 && len(inner) == 0 {
		return nil
	}
	info, err := os.Stat(path)
	child := dir.children[name]
	if err != nil || !info.IsDir() {
		if child != nil && (err == nil || missing(err)) {
			d.leave(child)
		}
		if len(files) > 0 && dir.entries[name] == nil && !d.excluded(path) {
			d.lookAtNew(&entry{dir: dir, name: name, patterns: files}, path, info, err)
		}
		return nil
	}
	if child == nil && len(inner) > 0 && !d.pruned(path) && !loops(dir, path, info) {
		child = newDirectory(dir, path, inner)
		dir.children[name] = child
	}
	return child
}

// loops says that a directory is one of those it is in: a link leads there.
func loops(dir *directory, path string, info fs.FileInfo) bool {
	known, err := idOfPath(path, info)
	for ; dir != nil && err == nil; dir = dir.parent {
		if dir.id == known {
			return true
		}
	}
	return false
}

// pruned says that all that is in a directory is excluded.
func (d *discovery) pruned(path string) bool {
	for _, pattern := range d.Exclude {
		if strings.HasSuffix(filepath.ToSlash(pattern), "/**") {
			if match, _ := doublestar.PathMatch(pattern, join(path, "x")); match {
				return true
			}
		}
	}
	return false
}

func (d *discovery) excluded(path string) bool {
	for _, pattern := range d.Exclude {
		if match, _ := doublestar.PathMatch(pattern, path); match {
			return true
		}
	}
	return false
}
