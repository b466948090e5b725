package capturetest

import (
	"context"
	"maps"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/xextension/storage"
)

// Storage is a storage extension in memory that does what a disk in trouble does. It is safe for concurrent use.
type Storage struct {
	component.StartFunc
	component.ShutdownFunc

	mu      sync.Mutex
	trouble func(ctx context.Context) error
	values  map[string][]byte
	opened  int
}

var _ storage.Extension = (*Storage)(nil)

// NewStorage makes an empty storage without trouble.
func NewStorage() *Storage { return &Storage{values: make(map[string][]byte)} }

// Trouble sets what every transaction asks first: it may take time, and fail. Nil is none.
func (s *Storage) Trouble(trouble func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = trouble
}

// Opened returns how many clients are open.
func (s *Storage) Opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// GetClient returns a client; all of them share the values.
func (s *Storage) GetClient(context.Context, component.Kind, component.ID, string) (storage.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return storageClient{s}, nil
}

type storageClient struct{ *Storage }

func (c storageClient) Get(ctx context.Context, key string) ([]byte, error) {
	op := storage.GetOperation(key)
	err := c.Batch(ctx, op)
	return op.Value, err
}

func (c storageClient) Set(ctx context.Context, key string, value []byte) error {
	return c.Batch(ctx, storage.SetOperation(key, value))
}

func (c storageClient) Delete(ctx context.Context, key string) error {
	return c.Batch(ctx, storage.DeleteOperation(key))
}

func (c storageClient) Batch(ctx context.Context, ops ...*storage.Operation) error {
	c.mu.Lock()
	trouble := c.trouble
	c.mu.Unlock()
	if trouble != nil {
		if err := trouble(ctx); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	values := maps.Clone(c.values)
	for _, op := range ops {
		switch op.Type {
		case storage.Get:
			op.Value = values[op.Key]
		case storage.Set:
			values[op.Key] = op.Value
		case storage.Delete:
			delete(values, op.Key)
		}
	}
	c.values = values
	return nil
}

func (c storageClient) Close(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened--
	return nil
}
