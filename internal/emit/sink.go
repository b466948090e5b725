package emit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/xpdata/pref"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/receiverhelper"
	"go.uber.org/zap"

	"github.com/logcapture/logcapture/internal/lifecycle"
)

// Reasons why records are given up, as counted by logcapture_records_dropped.
const (
	reasonPermanent = "permanent_error"
	reasonNoRetry   = "retry_disabled"
	reasonExpired   = "retry_expired"
)

// quiet is how long at least the log is silent about a downstream after it was said to refuse.
const quiet = 10 * time.Second

// Settings are what a [Sink] is made of.
type Settings struct {
	Next      consumer.Logs
	Receiver  receiver.Settings
	Retry     configretry.BackOffConfig
	Scope     string // name of the instrumentation scope
	Format    string // format and transport of the receiver's own metrics
	Transport string

	// Delivered is told how many bytes the next consumer has taken. Nil is nobody.
	Delivered func(n int)
	Dropped   func(n int, reason string)
	Retried   func()
	// Marked is told of the records that were delivered and have something wrong with them. Nil is nobody.
	Marked func(Marks)
}

// Sink delivers batches to the next consumer. It is safe for concurrent use: each reader waits for its own batch.
type Sink struct {
	Settings
	obs *receiverhelper.ObsReport

	mu       sync.Mutex
	dropping bool      // the last batch was given up
	refusing bool      // the last try was refused
	told     time.Time // when the log last said so
}

// NewSink makes a sink. An error comes from the set-up of the collector's metrics.
func NewSink(settings Settings) (*Sink, error) {
	obs, err := receiverhelper.NewObsReport(receiverhelper.ObsReportSettings{
		ReceiverID:             settings.Receiver.ID,
		Transport:              settings.Transport,
		LongLivedCtx:           true,
		ReceiverCreateSettings: settings.Receiver,
	})
	if err != nil {
		return nil, fmt.Errorf("create obsreport: %w", err)
	}
	return &Sink{Settings: settings, obs: obs}, nil
}

// Consume delivers the batch and retries while that is refused. It returns nil when the batch is done with: accepted, or given up by
// the rules of retry_on_failure and counted. It returns an error when ctx ended first; then nothing may be taken as delivered.
func (s *Sink) Consume(ctx context.Context, b *Batch) error {
	if b.Len() == 0 {
		return nil
	}
	op := s.obs.StartLogsOp(lifecycle.Graceful(ctx))
	given, err := s.deliver(ctx, op, b)
	s.obs.EndLogsOp(op, s.Format, b.Len(), err)
	if given {
		if s.Marked != nil && b.marks != (Marks{}) {
			s.Marked(b.marks)
		}
		return nil
	}
	return err
}

// deliver returns done when no further try is due; err is then why the batch was given up, nil when it was accepted.
func (s *Sink) deliver(ctx, op context.Context, b *Batch) (done bool, err error) {
	var again *retry
	var rest *plog.Logs // what a partial failure left to do
	for {
		if err := op.Err(); err != nil {
			return false, err
		}
		logs := s.logs(b, rest)
		pref.RefLogs(logs) // what is left to do is a part of it
		err = s.Next.ConsumeLogs(op, logs)
		var partial consumererror.Logs
		if errors.As(err, &partial) {
			data := plog.NewLogs()
			partial.Data().CopyTo(data)
			rest = &data
		}
		pref.UnrefLogs(logs)
		switch {
		case err == nil:
			s.accepted(b)
			return true, nil
		case op.Err() != nil: // aborted by us: no refusal, however it looks
			return false, errors.Join(op.Err(), err)
		case consumererror.IsPermanent(err):
			s.giveUp(count(b, rest), reasonPermanent, err)
			return true, err
		case ctx.Err() != nil:
			return false, errors.Join(ctx.Err(), err)
		case !s.Retry.Enabled:
			s.giveUp(count(b, rest), reasonNoRetry, err)
			return true, err
		}
		if again == nil {
			again = newRetry(s.Retry)
		}
		wait, expired := again.next()
		if expired {
			s.giveUp(count(b, rest), reasonExpired, err)
			return true, err
		}
		s.refused(err, wait)
		if err := lifecycle.Sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// NewBatch makes a batch for this sink only. It costs less where the next consumer does not change what it gets.
func (s *Sink) NewBatch() Batch { return Batch{single: !s.Next.Capabilities().MutatesData} }

// logs returns what the next try sends. It is untouched: the last try may have changed what it got.
func (s *Sink) logs(b *Batch, rest *plog.Logs) plog.Logs {
	if rest == nil {
		return b.next(s.Scope, s.Receiver.BuildInfo.Version)
	}
	logs := plog.NewLogs()
	rest.CopyTo(logs)
	return logs
}

func count(b *Batch, rest *plog.Logs) int {
	if rest == nil {
		return b.Len()
	}
	return rest.LogRecordCount()
}

// accepted ends a run of errors.
func (s *Sink) accepted(b *Batch) {
	if s.Delivered != nil {
		s.Delivered(b.Bytes())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropping = false
	if s.refusing {
		s.refusing = false
		s.Receiver.Logger.Debug("Delivery works again")
	}
}

func (s *Sink) refused(err error, wait time.Duration) {
	s.Retried()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.refusing && time.Since(s.told) > quiet {
		s.told = time.Now()
		s.Receiver.Logger.Warn("Delivery is refused; reading waits and nothing is lost",
			zap.Error(err), zap.Duration("next_try", wait))
	}
	s.refusing = true
}

func (s *Sink) giveUp(records int, reason string, err error) {
	s.Dropped(records, reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropping {
		s.dropping = true
		s.Receiver.Logger.Error("Records dropped; further drops are counted only, until a delivery works",
			zap.Int("records", records), zap.String("reason", reason), zap.Error(err))
	}
}

// retry says how long to wait before the next try.
type retry struct {
	backoff *backoff.ExponentialBackOff
	until   time.Time // zero: for ever
}

func newRetry(config configretry.BackOffConfig) *retry {
	r := &retry{backoff: &backoff.ExponentialBackOff{
		InitialInterval:     config.InitialInterval,
		RandomizationFactor: config.RandomizationFactor,
		Multiplier:          config.Multiplier,
		MaxInterval:         config.MaxInterval,
	}}
	r.backoff.Reset()
	if config.MaxElapsedTime > 0 {
		r.until = time.Now().Add(config.MaxElapsedTime)
	}
	return r
}

func (r *retry) next() (wait time.Duration, expired bool) {
	wait = r.backoff.NextBackOff()
	return wait, !r.until.IsZero() && time.Now().Add(wait).After(r.until)
}

// DefaultRetry retries for ever: the source keeps the data. The longest wait is short, because a try costs little and what waits is
// all of the capture.
func DefaultRetry() configretry.BackOffConfig {
	config := configretry.NewDefaultBackOffConfig()
	config.InitialInterval = 200 * time.Millisecond
	config.MaxInterval = 5 * time.Second
	config.MaxElapsedTime = 0
	return config
}
