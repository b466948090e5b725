package storagecheckextension

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// Config is the configuration of the extension.
type Config struct {
	// Directory is that of the file_storage.
	Directory string `mapstructure:"directory"`
}

// Validate asks for the directory.
func (c *Config) Validate() error {
	if c.Directory == "" {
		return errors.New("`directory` is that of the file_storage, and has to be given")
	}
	return nil
}

// NewFactory returns the factory of the extension for the collector.
func NewFactory() extension.Factory {
	return extension.NewFactory(component.MustNewType("storage_check"),
		func() component.Config { return &Config{} },
		func(_ context.Context, settings extension.Settings, config component.Config) (extension.Extension, error) {
			return &check{directory: config.(*Config).Directory, logger: settings.Logger}, nil
		}, component.StabilityLevelAlpha)
}
