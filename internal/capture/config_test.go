package capture

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestByteSizes(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "1048576": 1 << 20, "64MiB": 64 << 20, "64 mib": 64 << 20, "1.5KiB": 1536, "2GB": 2e9, "7b": 7, "3k": 3000,
	} {
		var got ByteSize
		require.NoError(t, got.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "MiB", "-1", "1XB", "9999999TiB", "NaN", "1e400"} {
		var got ByteSize
		require.Error(t, got.UnmarshalText([]byte(text)), text)
	}
}

func TestDefaultsAreValidAndEveryWrongKeyIsNamed(t *testing.T) {
	config := NewConfig()
	require.NoError(t, config.Validate())
	config.ShutdownGrace = -1
	config.MaxInflight = 1
	err := config.Validate()
	require.ErrorContains(t, err, "`shutdown_grace`")
	require.ErrorContains(t, err, "`max_inflight_bytes`")
}
