package storagecheckextension

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/boltcheck"
)

// suffix is added to the name of a database that is set aside.
const suffix = ".damaged"

// databases are the names that file_storage gives: <kind>_<type>_<name>, or a hash where that is too long.
var databases = regexp.MustCompile(`^((receiver|processor|exporter|extension|connector|other)_.*|[0-9a-f]{64})$`)

// errInUse is for a database that another process has open: it is its matter, and changes while it is read.
var errInUse = errors.New("in use")

type check struct {
	directory string
	logger    *zap.Logger
	aside     []string // set by Start
}

// Start looks at every database. Extensions start before what uses them.
func (c *check) Start(context.Context, component.Host) error {
	entries, err := os.ReadDir(c.directory)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // file_storage creates it, or says that it has to be there
	}
	if err != nil {
		return fmt.Errorf("`directory`: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !databases.MatchString(e.Name()) ||
			strings.HasSuffix(e.Name(), suffix) || strings.HasSuffix(e.Name(), ".backup") {
			continue
		}
		if err := c.look(filepath.Join(c.directory, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Shutdown implements component.Component.
func (c *check) Shutdown(context.Context) error { return nil }

// SetAside returns the databases that were set aside at the start, under their old names.
func (c *check) SetAside() []string { return c.aside }

func (c *check) look(path string) error {
	err := examine(path)
	var damaged *boltcheck.DamagedError
	if !errors.As(err, &damaged) {
		if err != nil && !errors.Is(err, errInUse) {
			c.logger.Warn("A database was not looked at", zap.String("path", path), zap.Error(err))
		}
		return nil // file_storage says what is wrong
	}
	aside := path + "." + time.Now().UTC().Format("20060102T150405.000") + suffix
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("%s: %w; it cannot be set aside, remove it: %w", path, damaged, err)
	}
	c.logger.Error("A database was damaged and is set aside; what was in it is lost, positions cost lines that are read again",
		zap.String("path", path), zap.String("now", aside), zap.Error(damaged))
	c.aside = append(c.aside, path)
	return nil
}

// examine checks a database while nobody else has it open.
func examine(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lock(f); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err // an empty one is new
	}
	return boltcheck.Check(f, info.Size())
}
