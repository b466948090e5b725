package filetail

import (
	"io/fs"
	"path/filepath"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/logcapture/logcapture/internal/emit"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// FileAttributes say what is put on records and resources beside the text.
type FileAttributes struct {
	// What is known of the file, as contrib's file_log names it.
	Name, Path, NameResolved, PathResolved, OwnerName, OwnerGroupName, Permissions bool
	// RecordNumber and RecordOffset are always on the record.
	RecordNumber, RecordOffset bool
	// FileOnResource puts what is known of the file on the resource, instead of on each record.
	FileOnResource bool
	// Kubernetes puts on the resource what the paths of its log files say.
	Kubernetes bool
	// Patterns put on the resource what the first of them that matches the path says.
	Patterns []*PathPattern
	// Record and Resource are fixed.
	Record, Resource map[string]any
}

// CheckValue returns an error where a value cannot be that of an attribute.
func CheckValue(value any) error { return pcommon.NewValueEmpty().FromRaw(value) }

// sourceOf makes what all records of a file have in common, once for each file; only discovery calls it. What cannot be found out is left out.
func (e *Engine) sourceOf(f *file, info fs.FileInfo) *emit.Source {
	a := &e.FileAttributes
	source := &emit.Source{Resource: e.resource, Attributes: pcommon.NewMap(), Offsets: a.RecordOffset, Numbers: a.RecordNumber}
	_ = source.Attributes.FromRaw(a.Record) // checked with the configuration
	if a.perFile() {
		source.Resource = &emit.Resource{Attributes: pcommon.NewMap()}
		e.resource.Attributes.CopyTo(source.Resource.Attributes)
	}
	if a.FileOnResource {
		e.putFile(source.Resource.Attributes, f, info)
	} else {
		e.putFile(source.Attributes, f, info)
	}
	if a.Kubernetes {
		putKubernetes(source.Resource.Attributes, f.name)
	}
	for _, p := range a.Patterns {
		if p.match(f.name, source.Resource.Attributes.PutStr) {
			break
		}
	}
	emit.Repair(source.Attributes)
	if a.perFile() {
		emit.Repair(source.Resource.Attributes)
	}
	return source
}

// perFile says that each file is a resource of its own.
func (a *FileAttributes) perFile() bool {
	return a.FileOnResource || a.Kubernetes || len(a.Patterns) > 0
}

// putFile puts what is known of the file. Its name and path are those under which it was found first: they stay when it is rotated.
func (e *Engine) putFile(m pcommon.Map, f *file, info fs.FileInfo) {
	a := &e.FileAttributes
	if a.Name {
		m.PutStr("log.file.name", filepath.Base(f.name))
	}
	if a.Path {
		m.PutStr("log.file.path", f.name)
	}
	if a.NameResolved || a.PathResolved {
		if resolved, err := resolve(f); err == nil {
			if a.NameResolved {
				m.PutStr("log.file.name_resolved", filepath.Base(resolved))
			}
			if a.PathResolved {
				m.PutStr("log.file.path_resolved", resolved)
			}
		}
	}
	if info == nil {
		return
	}
	if mode := permissions(info); a.Permissions && mode != "" {
		m.PutStr("log.file.permissions", mode)
	}
	if !a.OwnerName && !a.OwnerGroupName {
		return
	}
	owner, group := e.owners.ownerOf(info)
	if a.OwnerName && owner != "" {
		m.PutStr("log.file.owner.name", owner)
	}
	if a.OwnerGroupName && group != "" {
		m.PutStr("log.file.owner.group.name", group)
	}
}

// resolve returns where the links of the path lead. Of a file that was renamed since, those of its directory still do.
func resolve(f *file) (string, error) {
	path := f.name
	if f.path != f.name {
		dir, err := filepath.EvalSymlinks(filepath.Dir(f.name))
		return filepath.Join(dir, filepath.Base(f.name)), err
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(resolved)
}

func putKubernetes(m pcommon.Map, path string) {
	k, ok := lineformat.ParseKubernetesPath(path)
	if !ok {
		return
	}
	m.PutStr("k8s.namespace.name", k.Namespace)
	m.PutStr("k8s.pod.name", k.Pod)
	m.PutStr("k8s.container.name", k.Container)
	if k.UID != "" {
		m.PutStr("k8s.pod.uid", k.UID)
	}
	if k.ContainerID != "" {
		m.PutStr("container.id", k.ContainerID)
	}
	if k.RestartCount >= 0 {
		m.PutInt("k8s.container.restart_count", int64(k.RestartCount))
	}
}
