package containerlogreceiver

import (
	"errors"
	"fmt"
)

// MatchConfig names containers by what they are. Each list has patterns: exact, with * and ?, or a /regular expression/.
type MatchConfig struct {
	Names []string `mapstructure:"names"`
	// Images are compared with the whole reference and with the name without tag.
	Images []string `mapstructure:"images"`
	// Labels are a key, or key=value; both can be patterns.
	Labels          []string `mapstructure:"labels"`
	LogDrivers      []string `mapstructure:"log_drivers"`
	ComposeProjects []string `mapstructure:"compose_projects"`
	// States are those in which a container is found, or started: running, paused, restarting, exited, dead.
	States []string `mapstructure:"states"`
}

// Labels of Docker's own tools.
const (
	composeProject = "com.docker.compose.project"
	composeService = "com.docker.compose.service"
	swarmService   = "com.docker.swarm.service.name"
	swarmStack     = "com.docker.stack.namespace"
)

// match is a MatchConfig made ready.
type match struct {
	names, images, drivers, projects, states patterns
	labels                                   []labelPattern
	hidden                                   bool // one of labels matches a key that events do not tell
}

// Keys under which an event has the container's name and image, whatever the labels of these keys are.
const (
	eventName  = "name"
	eventImage = "image"
)

func (c *MatchConfig) build(key string) (match, error) {
	var m match
	var errs []error
	for _, list := range []struct {
		key    string
		texts  []string
		target *patterns
	}{
		{"names", c.Names, &m.names}, {"images", c.Images, &m.images}, {"log_drivers", c.LogDrivers, &m.drivers},
		{"compose_projects", c.ComposeProjects, &m.projects}, {"states", c.States, &m.states},
	} {
		var err error
		*list.target, err = parsePatterns(key+"::"+list.key, list.texts)
		errs = append(errs, err)
	}
	for _, text := range c.Labels {
		label, err := parseLabelPattern(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("`%s::labels`: %w", key, err))
		}
		m.labels = append(m.labels, label)
		m.hidden = m.hidden || label.key.matches(eventName) || label.key.matches(eventImage)
	}
	return m, errors.Join(errs...)
}

// label says whether one of the container's labels matches.
func (m *match) label(d *description) bool {
	for _, label := range m.labels {
		if label.matches(d.labels) {
			return true
		}
	}
	return false
}

// each calls f for every kind of property that has patterns and is known, until f returns false: with whether the container matches one of
// them.
func (m *match) each(d *description, f func(matches bool) bool) {
	name, _ := imageName(d.image)
	project, composed := d.labels[composeProject]
	kinds := []struct {
		used    bool
		matches func() bool
	}{
		{len(m.names) > 0, func() bool { return m.names.match(d.name) }},
		{len(m.images) > 0 && (d.image != "" || d.inspected), func() bool { return m.images.match(d.image, name) }},
		{len(m.drivers) > 0 && d.driver != "", func() bool { return m.drivers.match(d.driver) }},
		{len(m.projects) > 0, func() bool { return composed && m.projects.match(project) }},
		{len(m.states) > 0 && d.state != "", func() bool { return m.states.match(d.state) }},
		{len(m.labels) > 0 && (!m.hidden || d.inspected || m.label(d)), func() bool { return m.label(d) }},
	}
	for _, kind := range kinds {
		if kind.used && !f(kind.matches()) {
			return
		}
	}
}

// selection says which containers are captured.
type selection struct{ include, exclude match }

// includes decides; what is not known yet decides nothing. Of each kind of property that is named, one pattern has to match. An exclude wins.
func (s *selection) includes(d *description) bool {
	included, excluded := true, false
	s.include.each(d, func(matches bool) bool {
		included = included && matches
		return included
	})
	s.exclude.each(d, func(matches bool) bool {
		excluded = excluded || matches
		return !excluded
	})
	return included && !excluded
}

// needsInspect says that lists and events do not tell enough.
func (s *selection) needsInspect(d *description) bool {
	if d.inspected {
		return false
	}
	for _, m := range []*match{&s.include, &s.exclude} {
		if len(m.drivers) > 0 || (len(m.images) > 0 && d.image == "") || m.hidden {
			return true
		}
	}
	return false
}
