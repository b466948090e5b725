package filetailreceiver

import (
	"errors"
	"fmt"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"go.opentelemetry.io/collector/component"

	"github.com/logcapture/logcapture/internal/capture"
	"github.com/logcapture/logcapture/internal/filetail"
)

// Config is the configuration of the receiver. The README has each key with its default and meaning.
type Config struct {
	capture.Config `mapstructure:",squash"`

	Include []string `mapstructure:"include"`
	Exclude []string `mapstructure:"exclude"`
	StartAt string   `mapstructure:"start_at"`

	// Discovery is "auto" or "poll".
	Discovery         string        `mapstructure:"discovery"`
	ReconcileInterval time.Duration `mapstructure:"reconcile_interval"`
	// Identity is "inode" or "path".
	Identity         string        `mapstructure:"identity"`
	ExcludeOlderThan time.Duration `mapstructure:"exclude_older_than"`
	MaxOpenFiles     int           `mapstructure:"max_open_files"`

	// Compression is "", "gzip", "zstd" or "auto".
	Compression string `mapstructure:"compression"`
	// OnTruncate is "read_whole_file" or "read_new".
	OnTruncate      string `mapstructure:"on_truncate"`
	DeleteAfterRead bool   `mapstructure:"delete_after_read"`
	AcquireFSLock   bool   `mapstructure:"acquire_fs_lock"`

	PollInterval time.Duration `mapstructure:"poll_interval"`
	RotateWait   time.Duration `mapstructure:"rotate_wait"`

	LinesConfig      `mapstructure:",squash"`
	AttributesConfig `mapstructure:",squash"`

	// prevent unkeyed literal initialization
	_ struct{}
}

const (
	startAtBeginning = "beginning"
	startAtEnd       = "end"

	discoveryAuto = "auto"
	discoveryPoll = "poll"

	identityInode = "inode"
	identityPath  = "path"

	truncatedWhole = "read_whole_file"
	truncatedNew   = "read_new"

	// leastOpenFiles is as many as the workers need to make progress.
	leastOpenFiles = 8
)

func createDefaultConfig() component.Config {
	return &Config{
		Config:       capture.NewConfig(),
		StartAt:      startAtEnd,
		Discovery:    discoveryAuto,
		Identity:     identityInode,
		OnTruncate:   truncatedWhole,
		PollInterval: 200 * time.Millisecond,

		ReconcileInterval: 10 * time.Second,
		RotateWait:        10 * time.Second,

		LinesConfig:      defaultLines(),
		AttributesConfig: defaultAttributes(),
	}
}

// Validate names every key with a wrong value.
func (c *Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if len(c.Include) == 0 {
		errs = append(errs, errors.New("`include` must have at least one pattern"))
	}
	for key, patterns := range map[string][]string{"include": c.Include, "exclude": c.Exclude} {
		for _, pattern := range patterns {
			if pattern == "" || !doublestar.ValidatePathPattern(pattern) {
				errs = append(errs, fmt.Errorf("`%s`: %q is no valid pattern", key, pattern))
			}
		}
	}
	if c.StartAt != startAtBeginning && c.StartAt != startAtEnd {
		errs = append(errs, fmt.Errorf("`start_at` must be %q or %q, it is %q", startAtBeginning, startAtEnd, c.StartAt))
	}
	if c.Discovery != discoveryAuto && c.Discovery != discoveryPoll {
		errs = append(errs, fmt.Errorf("`discovery` must be %q or %q, it is %q", discoveryAuto, discoveryPoll, c.Discovery))
	}
	if c.Identity != identityInode && c.Identity != identityPath {
		errs = append(errs, fmt.Errorf("`identity` must be %q or %q, it is %q", identityInode, identityPath, c.Identity))
	}
	for key, interval := range map[string]time.Duration{"poll_interval": c.PollInterval, "reconcile_interval": c.ReconcileInterval} {
		if interval <= 0 {
			errs = append(errs, fmt.Errorf("`%s` must be positive, it is %s", key, interval))
		}
	}
	switch c.Compression {
	case filetail.CompressionNone, filetail.CompressionGzip, filetail.CompressionZstd, filetail.CompressionAuto:
	default:
		errs = append(errs, fmt.Errorf("`compression` must be empty, %q, %q or %q, it is %q",
			filetail.CompressionGzip, filetail.CompressionZstd, filetail.CompressionAuto, c.Compression))
	}
	if c.OnTruncate != truncatedWhole && c.OnTruncate != truncatedNew {
		errs = append(errs, fmt.Errorf("`on_truncate` must be %q or %q, it is %q", truncatedWhole, truncatedNew, c.OnTruncate))
	}
	if c.DeleteAfterRead && c.StartAt == startAtEnd {
		errs = append(errs, fmt.Errorf("`delete_after_read` would delete what `start_at: %s` does not read", startAtEnd))
	}
	if c.ExcludeOlderThan < 0 {
		errs = append(errs, fmt.Errorf("`exclude_older_than` must not be negative, it is %s", c.ExcludeOlderThan))
	}
	if c.MaxOpenFiles != 0 && c.MaxOpenFiles < leastOpenFiles {
		errs = append(errs, fmt.Errorf("`max_open_files` must be 0 (by the limit of the process) or at least %d, it is %d", leastOpenFiles, c.MaxOpenFiles))
	}
	if c.RotateWait < 0 {
		errs = append(errs, fmt.Errorf("`rotate_wait` must not be negative, it is %s", c.RotateWait))
	}
	_, textErr := c.text()
	_, attributesErr := c.build(c.Format)
	errs = append(errs, textErr, attributesErr)
	return errors.Join(errs...)
}
