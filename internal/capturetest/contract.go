package capturetest

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

// WithTestID makes a factory whose receivers put the body of each record also where receivertest.CheckConsumeContract looks for its id.
func WithTestID(factory receiver.Factory) receiver.Factory {
	return receiver.NewFactory(factory.Type(), factory.CreateDefaultConfig, receiver.WithLogs(
		func(ctx context.Context, settings receiver.Settings, config component.Config, next consumer.Logs) (receiver.Logs, error) {
			return factory.CreateLogs(ctx, settings, config, testID{next})
		}, factory.LogsStability()))
}

type testID struct{ consumer.Logs }

func (c testID) ConsumeLogs(ctx context.Context, logs plog.Logs) error {
	for _, rl := range logs.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			for _, lr := range sl.LogRecords().All() {
				lr.Attributes().PutStr(receivertest.UniqueIDAttrName, lr.Body().AsString())
			}
		}
	}
	return c.Logs.ConsumeLogs(ctx, logs)
}
