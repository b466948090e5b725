package filetailreceiver

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/charset"
	"github.com/logcapture/logcapture/internal/filetail"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// LinesConfig are the keys that say how bytes become records.
type LinesConfig struct {
	MaxLogSize capture.ByteSize `mapstructure:"max_log_size"`
	// MaxLogSizeBehavior is "split" or "truncate".
	MaxLogSizeBehavior string `mapstructure:"max_log_size_behavior"`
	Encoding           string `mapstructure:"encoding"`
	LineDelimiter      string `mapstructure:"line_delimiter"`
	// Format is "raw", "cri", "docker" or "auto".
	Format    string          `mapstructure:"format"`
	Multiline MultilineConfig `mapstructure:"multiline"`
	// ForceFlushPeriod is nil for the default, which depends on Multiline.
	ForceFlushPeriod *time.Duration `mapstructure:"force_flush_period"`
	PreserveLeading  bool           `mapstructure:"preserve_leading_whitespaces"`
	PreserveTrailing bool           `mapstructure:"preserve_trailing_whitespaces"`
	SkipEmptyLines   bool           `mapstructure:"skip_empty_lines"`
	// prevent unkeyed literal initialization
	_ struct{}
}

// MultilineConfig says how lines are grouped to records.
type MultilineConfig struct {
	LineStartPattern string `mapstructure:"line_start_pattern"`
	LineEndPattern   string `mapstructure:"line_end_pattern"`
	OmitPattern      bool   `mapstructure:"omit_pattern"`
	// prevent unkeyed literal initialization
	_ struct{}
}

const (
	behaviorSplit    = "split"
	behaviorTruncate = "truncate"

	formatRaw = "raw"

	// groupFlushPeriod is how long the next line of a record of many is waited for by default; file_log has the same.
	groupFlushPeriod = 500 * time.Millisecond

	// maxLogSize bounds what one line can take of the memory; with less than minLogSize, there are characters that do not fit.
	maxLogSize = 1 << 30
	minLogSize = 4
	// maxDelimiter is less than what is kept of the bytes before a position, in any encoding.
	maxDelimiter = 16
)

func defaultLines() LinesConfig {
	return LinesConfig{
		MaxLogSize:         1 << 20,
		MaxLogSizeBehavior: behaviorSplit,
		Encoding:           "utf-8",
		Format:             formatRaw,
		PreserveLeading:    true,
		PreserveTrailing:   true,
	}
}

// text makes the settings of the engine. The error names every key with a wrong value.
func (c *LinesConfig) text() (t filetail.Text, err error) {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.MaxLogSize < minLogSize || c.MaxLogSize > maxLogSize {
		fail("`max_log_size` must be between %d and %d, it is %d", minLogSize, int64(maxLogSize), c.MaxLogSize)
	}
	if c.MaxLogSizeBehavior != behaviorSplit && c.MaxLogSizeBehavior != behaviorTruncate {
		fail("`max_log_size_behavior` must be %q or %q, it is %q", behaviorSplit, behaviorTruncate, c.MaxLogSizeBehavior)
	}
	var ok bool
	if t.Format, ok = lineformat.Formats[c.Format]; !ok {
		fail("`format` must be raw, cri, docker or auto, it is %q", c.Format)
	}
	if t.Encoding, err = charset.Lookup(c.Encoding); err != nil {
		fail("`encoding`: %w", err)
	} else {
		errs = append(errs, c.fit(t.Encoding)...)
	}
	if c.ForceFlushPeriod != nil && *c.ForceFlushPeriod < 0 {
		fail("`force_flush_period` must not be negative, it is %s", *c.ForceFlushPeriod)
	}
	if t.Multiline, err = c.Multiline.build(); err != nil {
		errs = append(errs, err)
	}
	t.Delimiter = c.LineDelimiter
	t.Truncate = c.MaxLogSizeBehavior == behaviorTruncate
	t.FlushPeriod = c.flushPeriod()
	t.TrimLeading, t.TrimTrailing, t.SkipEmpty = !c.PreserveLeading, !c.PreserveTrailing, c.SkipEmptyLines
	return t, errors.Join(errs...)
}

// fit checks what goes together with the encoding.
func (c *LinesConfig) fit(e *charset.Encoding) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if e.Blocks && (c.Multiline != MultilineConfig{} || c.LineDelimiter != "" || c.Format != formatRaw) {
		fail("`encoding: nop` has no lines: `multiline`, `line_delimiter` and `format` cannot be set with it")
		return errs
	}
	switch {
	case c.Format == "cri" && !e.ASCII:
		fail("`format: cri` cannot be written in `encoding: %s`", c.Encoding)
	case (c.Format == "docker" || c.Format == "auto") && !e.AppendsItself():
		fail("`format: %s` is written in UTF-8, not in `encoding: %s`", c.Format, c.Encoding)
	}
	if c.LineDelimiter == "" {
		return errs
	}
	if c.Format != formatRaw {
		fail("`line_delimiter` cannot be set with `format: %s`: container runtimes end lines by a line feed", c.Format)
	}
	if len(c.LineDelimiter) > maxDelimiter {
		fail("`line_delimiter` must be at most %d bytes long, it is %q", maxDelimiter, c.LineDelimiter)
	}
	encodings := []*charset.Encoding{e}
	if e.Marked {
		encodings = append(encodings, charset.Detectable()...)
	}
	for _, encoding := range encodings {
		if _, err := encoding.Encode(c.LineDelimiter); err != nil {
			fail("`line_delimiter`: %q cannot be written in `encoding: %s`", c.LineDelimiter, c.Encoding)
		}
	}
	return errs
}

func (c *LinesConfig) flushPeriod() time.Duration {
	switch {
	case c.ForceFlushPeriod != nil:
		return *c.ForceFlushPeriod
	case c.Multiline.set():
		return groupFlushPeriod
	}
	return 0
}

func (c *MultilineConfig) set() bool { return c.LineStartPattern != "" || c.LineEndPattern != "" }

func (c *MultilineConfig) build() (*lineformat.Multiline, error) {
	start, end := c.LineStartPattern, c.LineEndPattern
	switch {
	case start != "" && end != "":
		return nil, fmt.Errorf("`multiline`: only one of `line_start_pattern` (%q) and `line_end_pattern` (%q) can be set", start, end)
	case start != "":
		return named("multiline::line_start_pattern", start, c, true)
	case end != "":
		return named("multiline::line_end_pattern", end, c, false)
	case c.OmitPattern:
		return nil, errors.New("`multiline::omit_pattern` has no pattern to omit")
	}
	return nil, nil
}

func named(key, pattern string, c *MultilineConfig, start bool) (*lineformat.Multiline, error) {
	m, err := lineformat.NewMultiline(pattern, start, c.OmitPattern)
	if err != nil {
		return nil, fmt.Errorf("`%s`: %q: %w", key, pattern, err)
	}
	return m, nil
}

// AttributesConfig are the keys that say what records have beside their text.
type AttributesConfig struct {
	IncludeFileName           bool `mapstructure:"include_file_name"`
	IncludeFilePath           bool `mapstructure:"include_file_path"`
	IncludeFileNameResolved   bool `mapstructure:"include_file_name_resolved"`
	IncludeFilePathResolved   bool `mapstructure:"include_file_path_resolved"`
	IncludeFileOwnerName      bool `mapstructure:"include_file_owner_name"`
	IncludeFileOwnerGroupName bool `mapstructure:"include_file_owner_group_name"`
	IncludeFilePermissions    bool `mapstructure:"include_file_permissions"`
	IncludeFileRecordNumber   bool `mapstructure:"include_file_record_number"`
	IncludeFileRecordOffset   bool `mapstructure:"include_file_record_offset"`
	// FileAttributesOn is "record" or "resource".
	FileAttributesOn string `mapstructure:"file_attributes_on"`
	// AddMetadataFromFilePath takes k8s.* from the paths of container log files.
	AddMetadataFromFilePath bool           `mapstructure:"add_metadata_from_filepath"`
	PathAttributes          []string       `mapstructure:"path_attributes"`
	Attributes              map[string]any `mapstructure:"attributes"`
	Resource                map[string]any `mapstructure:"resource"`
	// prevent unkeyed literal initialization
	_ struct{}
}

const (
	onRecord   = "record"
	onResource = "resource"
)

func defaultAttributes() AttributesConfig {
	return AttributesConfig{IncludeFileName: true, FileAttributesOn: onRecord, AddMetadataFromFilePath: true}
}

// build makes the settings of the engine for files of a format. The error names every key with a wrong value.
func (c *AttributesConfig) build(format string) (filetail.FileAttributes, error) {
	var errs []error
	if c.FileAttributesOn != onRecord && c.FileAttributesOn != onResource {
		errs = append(errs, fmt.Errorf("`file_attributes_on` must be %q or %q, it is %q", onRecord, onResource, c.FileAttributesOn))
	}
	var patterns []*filetail.PathPattern
	for _, text := range c.PathAttributes {
		p, err := filetail.NewPathPattern(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("`path_attributes`: %q: %w", text, err))
		}
		patterns = append(patterns, p)
	}
	errs = append(errs, checkFixed("attributes", c.Attributes), checkFixed("resource", c.Resource))
	return filetail.FileAttributes{
		Name: c.IncludeFileName, Path: c.IncludeFilePath,
		NameResolved: c.IncludeFileNameResolved, PathResolved: c.IncludeFilePathResolved,
		OwnerName: c.IncludeFileOwnerName, OwnerGroupName: c.IncludeFileOwnerGroupName, Permissions: c.IncludeFilePermissions,
		RecordNumber: c.IncludeFileRecordNumber, RecordOffset: c.IncludeFileRecordOffset,
		FileOnResource: c.FileAttributesOn == onResource,
		Kubernetes:     c.AddMetadataFromFilePath && format != formatRaw,
		Patterns:       patterns,
		Record:         c.Attributes, Resource: c.Resource,
	}, errors.Join(errs...)
}

// checkFixed finds values that would not be what they look like.
func checkFixed(key string, fixed map[string]any) error {
	var errs []error
	for name, value := range fixed {
		if text, ok := value.(string); ok && strings.HasPrefix(text, "EXPR(") {
			errs = append(errs, fmt.Errorf("`%s::%s`: expressions as in %q are not evaluated; the transform processor does that", key, name, text))
		}
		if err := filetail.CheckValue(value); err != nil {
			errs = append(errs, fmt.Errorf("`%s::%s`: %w", key, name, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}
