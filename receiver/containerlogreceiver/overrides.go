package containerlogreceiver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// OverridesConfig says what containers may set for themselves by labels.
type OverridesConfig struct {
	// Enabled lets labels have an effect. Labels are made by whoever makes the container.
	Enabled bool `mapstructure:"enabled"`
	// Prefix is what the labels begin with.
	Prefix string `mapstructure:"prefix"`
}

// Bounds of what labels can cause.
const (
	maxOverrideValue      = 1024
	maxOverrideAttributes = 32
)

// chosen is how a container is captured: as configured, and as its labels say.
type chosen struct {
	enabled        bool
	stdout, stderr bool
	history        time.Duration
	multiline      multiline
	service        string
	attributes     map[string]string
	format         string
}

// defaults are what is configured for containers without labels.
func (c *Config) defaults() (chosen, error) {
	history, err := c.startAt()
	if err != nil {
		return chosen{}, err
	}
	lines, err := c.Multiline.build("multiline")
	if err != nil {
		return chosen{}, err
	}
	return chosen{
		enabled: c.EnabledByDefault, stdout: slices.Contains(c.Streams, streamStdout), stderr: slices.Contains(c.Streams, streamStderr),
		history: history, multiline: lines,
	}, nil
}

// override applies labels. What is wrong with one is an error, and leaves the default.
func (o *OverridesConfig) override(labels map[string]string, c chosen) (chosen, error) {
	if !o.Enabled {
		return c, nil
	}
	var errs []error
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		key, ok := strings.CutPrefix(label, o.Prefix)
		if !ok {
			continue
		}
		value := labels[label]
		err := errTooLong
		if len(value) <= maxOverrideValue && len(key) <= maxOverrideValue {
			err = c.set(key, value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("label %.100q: %w", label, err))
		}
	}
	return c, errors.Join(errs...)
}

var errTooLong = fmt.Errorf("longer than %d bytes", maxOverrideValue)

func (c *chosen) set(key, value string) error {
	switch key {
	case "enabled":
		enabled, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%q is not true or false", value)
		}
		c.enabled = enabled
	case "streams":
		return c.setStreams(value)
	case "start_at":
		history, err := (&Config{StartAt: value}).startAt()
		if err != nil {
			return err
		}
		c.history = history
	case "multiline.line_start_pattern":
		return c.setMultiline(MultilineConfig{LineStartPattern: value})
	case "multiline.line_end_pattern":
		return c.setMultiline(MultilineConfig{LineEndPattern: value})
	case "service.name":
		c.service = value
	case "format":
		c.format = value
	default:
		return c.setAttribute(key, value)
	}
	return nil
}

func (c *chosen) setStreams(value string) error {
	stdout, stderr := false, false
	for _, stream := range strings.Split(value, ",") {
		switch strings.TrimSpace(stream) {
		case streamStdout:
			stdout = true
		case streamStderr:
			stderr = true
		default:
			return fmt.Errorf("%q is not stdout, stderr, or both with a comma", value)
		}
	}
	c.stdout, c.stderr = stdout, stderr
	return nil
}

func (c *chosen) setMultiline(config MultilineConfig) error {
	lines, err := config.buildBounded()
	if err == nil {
		c.multiline = lines
	}
	return err
}

func (c *chosen) setAttribute(key, value string) error {
	name, ok := strings.CutPrefix(key, "attributes.")
	if !ok || name == "" {
		return errors.New("there is no such setting")
	}
	if strings.HasPrefix(name, "container.") || strings.HasPrefix(name, "host.") {
		return errors.New("this attribute says what the container is, and is not for the container to say")
	}
	if len(c.attributes) >= maxOverrideAttributes {
		return fmt.Errorf("more than %d attributes", maxOverrideAttributes)
	}
	c.attributes = maps.Clone(c.attributes)
	if c.attributes == nil {
		c.attributes = make(map[string]string)
	}
	c.attributes[name] = value
	return nil
}
