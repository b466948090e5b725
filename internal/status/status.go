// Package status folds the troubles of one receiver instance into its component status.
//
// The collector knows one status per component, but a receiver can have several troubles at a time (the daemon is away and the
// storage is full). Each has a name here, comes and goes by itself, and the component is OK again when none is left.
package status

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componentstatus"
)

// Board holds the present troubles of a component and reports each change to the collector. It is safe for concurrent use.
type Board struct {
	host component.Host

	mu       sync.Mutex // held while reporting too, so that reports arrive in the order of the changes
	troubles map[string]error
}

// NewBoard makes a board without troubles that reports to host.
func NewBoard(host component.Host) *Board {
	return &Board{host: host, troubles: make(map[string]error)}
}

// Set says that the trouble of this name is err now, or that it is over where err is nil. It reports true where this changed whether
// the trouble exists: the moment for one line in the log.
func (b *Board) Set(name string, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, had := b.troubles[name]
	if err == nil {
		if !had {
			return false
		}
		delete(b.troubles, name)
		b.report()
		return true
	}
	b.troubles[name] = err
	if !had || before.Error() != err.Error() {
		b.report()
	}
	return !had
}

// Broken reports an error that does not heal without a person: the component stays in that status until it is stopped.
func (b *Board) Broken(err error) {
	componentstatus.ReportStatus(b.host, componentstatus.NewEvent(componentstatus.StatusPermanentError, componentstatus.WithError(err)))
}

func (b *Board) report() {
	if len(b.troubles) == 0 {
		componentstatus.ReportStatus(b.host, componentstatus.NewEvent(componentstatus.StatusOK))
		return
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(b.troubles)) {
		errs = append(errs, b.troubles[name])
	}
	componentstatus.ReportStatus(b.host,
		componentstatus.NewEvent(componentstatus.StatusRecoverableError, componentstatus.WithError(errors.Join(errs...))))
}
