package containerlogreceiver

import (
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/logcapture/logcapture/internal/capture"
)

// Config is the configuration of the receiver. The README has each key with its default and meaning.
type Config struct {
	capture.Config `mapstructure:",squash"`

	// Endpoint of the engine, for example unix:///run/user/1000/docker.sock; empty: the one that the Docker CLI would use.
	Endpoint string `mapstructure:"endpoint"`
	// TLS is for tcp:// and https:// endpoints.
	TLS *configtls.ClientConfig `mapstructure:"tls"`
	// ReadFrom says where logs are read: from the engine's API, from its files, or from the files where that is possible (auto).
	ReadFrom string `mapstructure:"read_from"`
	// RootPath is where the file system of the engine's host is, for a collector in a container.
	RootPath string `mapstructure:"root_path"`
	// Include and Exclude select containers; without either all are captured. Exclude wins.
	Include MatchConfig `mapstructure:"include"`
	Exclude MatchConfig `mapstructure:"exclude"`
	// EnabledByDefault is false where only containers are captured that ask for it by the label <prefix>enabled.
	EnabledByDefault bool `mapstructure:"enabled_by_default"`
	// Overrides are what containers may set for themselves.
	Overrides OverridesConfig `mapstructure:"overrides"`
	// StartAt says where to begin in the log of a container that ran before the receiver started and has no stored position.
	StartAt string `mapstructure:"start_at"`
	// Streams are what of a container is captured: stdout, stderr.
	Streams []string `mapstructure:"streams"`
	// MaxLogSize is the length of a line beyond which MaxLogSizeBehavior applies.
	MaxLogSize         capture.ByteSize `mapstructure:"max_log_size"`
	MaxLogSizeBehavior string           `mapstructure:"max_log_size_behavior"`
	Multiline          MultilineConfig  `mapstructure:"multiline"`
	// ForceFlushPeriod is how long the end of a record of several lines is waited for.
	ForceFlushPeriod time.Duration `mapstructure:"force_flush_period"`
	// ServiceIdentity puts service.name, service.namespace and service.version on the resource.
	ServiceIdentity bool `mapstructure:"service_identity"`
	// LabelAttributes and EnvAttributes are the labels and environment variables that become resource attributes.
	LabelAttributes []string `mapstructure:"label_attributes"`
	EnvAttributes   []string `mapstructure:"env_attributes"`
	// LifecycleRecords makes records of what happens to containers: start, die, oom, health_status.
	LifecycleRecords bool `mapstructure:"lifecycle_records"`
	// ResyncInterval is how often the containers are listed; between, events tell what changes.
	ResyncInterval time.Duration `mapstructure:"resync_interval"`
	// IdleCheckInterval is how long a running container is quiet before the engine is asked whether it really is; 0: never.
	IdleCheckInterval time.Duration `mapstructure:"idle_check_interval"`

	// prevent unkeyed literal initialization
	_ struct{}
}

const (
	startAtBeginning = "beginning"
	startAtEnd       = "end"

	streamStdout = "stdout"
	streamStderr = "stderr"

	behaviorSplit    = "split"
	behaviorTruncate = "truncate"

	readAuto  = "auto"
	readAPI   = "api"
	readFiles = "files"

	maxLogSize = 1 << 30
)

func createDefaultConfig() component.Config {
	return &Config{
		Config:             capture.NewConfig(),
		ReadFrom:           readAuto,
		StartAt:            startAtBeginning,
		Streams:            []string{streamStdout, streamStderr},
		MaxLogSize:         1 << 20,
		MaxLogSizeBehavior: behaviorSplit,
		EnabledByDefault:   true,
		Overrides:          OverridesConfig{Enabled: true, Prefix: "io.opentelemetry.logs/"},
		ForceFlushPeriod:   500 * time.Millisecond,
		ServiceIdentity:    true,
		LabelAttributes: []string{
			composeProject, composeService, swarmService, swarmStack, "com.docker.swarm.node.id", "com.docker.swarm.task.id", "com.docker.swarm.task.name",
		},
		ResyncInterval:    time.Minute,
		IdleCheckInterval: 30 * time.Second,
	}
}

// Validate names every key with a wrong value.
func (c *Config) Validate() error {
	errs := []error{c.Config.Validate()}
	if c.Endpoint != "" {
		if err := checkEndpoint(c.Endpoint); err != nil {
			errs = append(errs, fmt.Errorf("`endpoint`: %w", err))
		} else if c.TLS != nil && !(address{host: c.Endpoint}).takesTLS() {
			errs = append(errs, fmt.Errorf("`tls` is for tcp:// and https://, `endpoint` is %q", c.Endpoint))
		}
	}
	if c.ReadFrom != readAuto && c.ReadFrom != readAPI && c.ReadFrom != readFiles {
		errs = append(errs, fmt.Errorf("`read_from` must be %q, %q or %q, it is %q", readAuto, readAPI, readFiles, c.ReadFrom))
	}
	if len(c.Streams) == 0 {
		errs = append(errs, errors.New("`streams` must have at least one of stdout and stderr"))
	}
	for _, stream := range c.Streams {
		if stream != streamStdout && stream != streamStderr {
			errs = append(errs, fmt.Errorf("`streams` can have stdout and stderr, not %q", stream))
		}
	}
	if c.MaxLogSize < 1 || c.MaxLogSize > maxLogSize {
		errs = append(errs, fmt.Errorf("`max_log_size` must be between 1 and %d, it is %d", int64(maxLogSize), c.MaxLogSize))
	}
	if c.MaxLogSizeBehavior != behaviorSplit && c.MaxLogSizeBehavior != behaviorTruncate {
		errs = append(errs, fmt.Errorf("`max_log_size_behavior` must be %q or %q, it is %q", behaviorSplit, behaviorTruncate, c.MaxLogSizeBehavior))
	}
	if c.ResyncInterval <= 0 {
		errs = append(errs, fmt.Errorf("`resync_interval` must be positive, it is %s", c.ResyncInterval))
	}
	if c.ForceFlushPeriod <= 0 {
		errs = append(errs, fmt.Errorf("`force_flush_period` must be positive, it is %s", c.ForceFlushPeriod))
	}
	if c.Overrides.Enabled && c.Overrides.Prefix == "" {
		errs = append(errs, errors.New("`overrides::prefix` must not be empty"))
	}
	if _, err := c.build(); err != nil {
		errs = append(errs, err)
	}
	if c.IdleCheckInterval < 0 {
		errs = append(errs, fmt.Errorf("`idle_check_interval` must not be negative, it is %s", c.IdleCheckInterval))
	}
	return errors.Join(errs...)
}

// startAt returns how much of the history to read: a negative time is all of it.
func (c *Config) startAt() (time.Duration, error) {
	switch c.StartAt {
	case startAtBeginning:
		return -1, nil
	case startAtEnd:
		return 0, nil
	}
	history, err := time.ParseDuration(c.StartAt)
	if err != nil || history <= 0 {
		return 0, fmt.Errorf("`start_at` must be %q, %q or a positive duration such as 1h, it is %q", startAtBeginning, startAtEnd, c.StartAt)
	}
	return history, nil
}

// rules are what the configuration means for each container, made ready.
type rules struct {
	selection  selection
	labels     patterns // that become attributes
	env        patterns
	byDefault  chosen
	overrides  OverridesConfig
	identify   bool
	lifecycles bool
}

func (c *Config) build() (r rules, err error) {
	var errs [6]error
	r.selection.include, errs[0] = c.Include.build("include")
	r.selection.exclude, errs[1] = c.Exclude.build("exclude")
	r.labels, errs[2] = parsePatterns("label_attributes", c.LabelAttributes)
	r.env, errs[3] = parsePatterns("env_attributes", c.EnvAttributes)
	r.byDefault, errs[4] = c.defaults()
	r.overrides, r.identify, r.lifecycles = c.Overrides, c.ServiceIdentity, c.LifecycleRecords
	return r, errors.Join(errs[:]...)
}
