package containerlogreceiver

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/emit"
)

// described reads an inspect. Every part of it can be missing.
func described(info container.InspectResponse) description {
	d := description{inspected: true}
	if info.ContainerJSONBase != nil {
		d.name = strings.TrimPrefix(info.Name, "/")
		d.imageID = info.Image
		d.logPath = info.LogPath
		if info.HostConfig != nil {
			d.driver = info.HostConfig.LogConfig.Type
			d.rotation = rotation(info.HostConfig.LogConfig)
			d.plain = plain(info.HostConfig.LogConfig)
			d.restart = !info.HostConfig.RestartPolicy.IsNone()
			d.removed = info.HostConfig.AutoRemove
		}
	}
	if info.Config != nil {
		d.image = info.Config.Image
		d.labels = info.Config.Labels
		d.env = info.Config.Env
		d.terminal = info.Config.Tty
	}
	return d
}

// listed reads an entry of a list. The name of its image is not known where that is another image's by now: then the list has the id.
func listed(summary *container.Summary) description {
	d := description{
		name: nameOf(summary.Names), image: summary.Image, imageID: summary.ImageID, labels: summary.Labels, created: summary.Created,
	}
	if strings.HasPrefix(d.image, "sha256:") {
		d.image = ""
	}
	return d
}

// told reads the event of a start.
func told(message events.Message) description {
	attributes := message.Actor.Attributes
	d := description{name: attributes[eventName], image: attributes[eventImage], labels: maps.Clone(attributes)}
	delete(d.labels, eventName)
	delete(d.labels, eventImage)
	return d
}

// nameOf returns the name of a container of which a list has several: those with a second slash are its names in others that link to it.
func nameOf(names []string) string {
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return ""
}

// advise tells what an operator may not know about the log of a container. It is called once for each.
func (f *follower) advise(info container.InspectResponse) {
	if info.ContainerJSONBase == nil || info.HostConfig == nil {
		return
	}
	log := info.HostConfig.LogConfig
	if log.Config["mode"] == string(container.LogModeNonBlock) {
		f.Logger.Info("The engine drops lines of a container when they come faster than it can store them: its log has mode=non-blocking",
			zap.String("container", info.ID))
	}
	if log.Type == jsonFile && rotation(log) <= 0 && !f.advised.Swap(true) {
		f.Logger.Info("The log of a container grows without bound, because it has no max-size; it is the first of those, others are not told",
			zap.String("container", info.ID))
	}
}

// rotation returns the size at which the engine rotates a log.
func rotation(config container.LogConfig) int64 {
	var size capture.ByteSize
	if err := size.UnmarshalText([]byte(config.Config["max-size"])); err != nil && config.Type == "local" {
		return 20_000_000 // its default; json-file has none
	}
	return int64(size)
}

// plain says that the engine compresses no file of a log.
func plain(config container.LogConfig) bool {
	compressed, key := true, "cache-compress" // of the copy that the engine keeps of what it sends elsewhere
	switch config.Type {
	case journald:
		return true
	case jsonFile:
		compressed, key = false, "compress"
	case "local":
		key = "compress"
	}
	if set, err := strconv.ParseBool(config.Config[key]); err == nil {
		compressed = set
	}
	return !compressed
}

// attributes describes a container as a resource, by the semantic conventions.
func (f *follower) attributes(id string, d description, s *session) pcommon.Map {
	m := pcommon.NewMap()
	m.PutStr("container.id", id)
	if d.name != "" {
		m.PutStr("container.name", d.name)
	}
	name, tag := imageName(d.image)
	if name != "" {
		m.PutStr("container.image.name", name)
	}
	if tag != "" {
		m.PutEmptySlice("container.image.tags").AppendEmpty().SetStr(tag)
	}
	if d.imageID != "" {
		m.PutStr("container.image.id", d.imageID)
	}
	m.PutStr("container.runtime.name", s.runtime())
	if s.hostname != "" {
		m.PutStr("host.name", s.hostname)
	}
	f.chosenAttributes(m, d)
	emit.Repair(m) // the value of a variable can decode to anything
	return m
}

// chosenAttributes adds what the configuration and the container's labels ask for.
func (f *follower) chosenAttributes(m pcommon.Map, d description) {
	for _, key := range slices.Sorted(maps.Keys(d.labels)) {
		if f.rules.labels.match(key) {
			m.PutStr("container.label."+key, d.labels[key])
		}
	}
	for _, variable := range d.env {
		if key, value, _ := strings.Cut(variable, "="); f.rules.env.match(key) {
			m.PutStr("container.env."+key, value)
		}
	}
	own, _ := f.rules.overrides.override(d.labels, f.rules.byDefault)
	if f.rules.identify {
		identity := identify(&d)
		if own.service != "" {
			identity.name = own.service
		}
		identity.put(m)
	}
	for _, key := range slices.Sorted(maps.Keys(own.attributes)) {
		m.PutStr(key, own.attributes[key])
	}
	if own.format != "" {
		m.PutStr("log.format", own.format)
	}
}

// imageName splits the reference of an image into its name, with registry and path, and its tag. The engine reads a reference without
// tag and digest as latest. The name is empty where the image has none but its id.
func imageName(reference string) (name, tag string) {
	name, digest, pinned := strings.Cut(reference, "@")
	if strings.HasPrefix(name, "sha256:") {
		return "", ""
	}
	// A colon before the last slash belongs to the port of a registry.
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:]
	}
	if name == "" || (pinned && digest != "") {
		return name, ""
	}
	return name, "latest"
}

// sourceOf returns where the container's records come from, made anew when the container's description has changed.
func (f *follower) sourceOf(c *followed, s *session) *emit.Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.source == nil {
		c.source = &emit.Source{
			Resource:   &emit.Resource{Attributes: f.attributes(c.id, c.about, s)},
			Attributes: pcommon.NewMap(),
		}
	}
	return c.source
}
