package capture

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configretry"

	"github.com/logcapture/logcapture/internal/emit"
)

// Config are the keys that both receivers have.
type Config struct {
	// Storage is the id of the storage extension that keeps positions. Without one they are forgotten at the end of the process.
	Storage *component.ID `mapstructure:"storage"`
	// Retry says what is done with a batch that the pipeline refuses. Default: retried for ever, while reading waits.
	Retry configretry.BackOffConfig `mapstructure:"retry_on_failure"`
	// ShutdownGrace is how long a delivery that is under way at shutdown may take to end.
	ShutdownGrace time.Duration `mapstructure:"shutdown_grace"`
	// MaxInflight bounds the bytes that are read and not yet acknowledged.
	MaxInflight ByteSize `mapstructure:"max_inflight_bytes"`
}

// NewConfig returns the defaults.
func NewConfig() Config {
	return Config{
		Retry:         emit.DefaultRetry(),
		ShutdownGrace: 5 * time.Second,
		MaxInflight:   64 << 20,
	}
}

// Validate names every key with a wrong value. The collector validates retry_on_failure by itself.
func (c *Config) Validate() error {
	var errs []error
	if c.ShutdownGrace < 0 {
		errs = append(errs, fmt.Errorf("`shutdown_grace` must not be negative, it is %s", c.ShutdownGrace))
	}
	if c.MaxInflight < emit.MaxBatchBytes {
		errs = append(errs, fmt.Errorf("`max_inflight_bytes` must be at least %d, it is %d", emit.MaxBatchBytes, c.MaxInflight))
	}
	return errors.Join(errs...)
}

// ByteSize is a number of bytes; in YAML a plain number, or one with a unit such as 64MiB or 1MB.
type ByteSize int64

var byteUnits = []struct {
	suffix string
	size   int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1},
}

// UnmarshalText reads a number with an optional unit; upper and lower case are the same.
func (b *ByteSize) UnmarshalText(text []byte) error {
	number, unit := strings.ToLower(strings.TrimSpace(string(text))), int64(1)
	for _, u := range byteUnits {
		if strings.HasSuffix(number, u.suffix) {
			number, unit = strings.TrimSpace(strings.TrimSuffix(number, u.suffix)), u.size
			break
		}
	}
	value, err := strconv.ParseFloat(number, 64)
	if err != nil || !(value >= 0 && value*float64(unit) < 1<<62) { // also false for NaN
		return fmt.Errorf("%q is no size in bytes such as 1048576 or 1MiB", text)
	}
	*b = ByteSize(value * float64(unit))
	return nil
}
