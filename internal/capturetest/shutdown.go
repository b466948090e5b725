package capturetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component"
)

// Promptly is far more than a shutdown needs that waits for nothing, and far less than one that waits for something.
const Promptly = 3 * time.Second

// ShutDown shuts a receiver down, by a context that lasts for much longer than it may take.
func ShutDown(t *testing.T, r component.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*Promptly)
	defer cancel()
	began := time.Now()
	require.NoError(t, r.Shutdown(ctx))
	require.Less(t, time.Since(began), Promptly)
}
