package filetail

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func samplePosition() position {
	return position{
		id: id{0xfe01, 1 << 40}, path: "/var/log/a.log", offset: 1 << 50, number: 7,
		at: "/var/log/a.log.1", born: 1 << 60, packed: 9, gone: 1 << 31,
		head: evidence{1024, 1 << 63}, guard: evidence{64, 3},
	}
}

func TestPositionIsDecodedAsEncoded(t *testing.T) {
	for _, p := range []position{{}, samplePosition()} {
		got, err := decodePosition(p.encode())
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
}

func TestCutOrExtendedPositionIsAnError(t *testing.T) {
	p := samplePosition()
	encoded := p.encode()
	for i := range encoded {
		_, err := decodePosition(encoded[:i])
		require.ErrorIs(t, err, errPosition, "cut at %d", i)
	}
	_, err := decodePosition(append(encoded, 0))
	require.ErrorIs(t, err, errPosition)
}

func TestKeyNamesItsID(t *testing.T) {
	p := samplePosition()
	require.Equal(t, p.id, idOfKey(p.id.key()))
	require.Zero(t, idOfKey("index/3f"))
}

func FuzzDecodePosition(f *testing.F) {
	p := samplePosition()
	f.Add(p.encode())
	f.Fuzz(func(t *testing.T, buf []byte) {
		p, err := decodePosition(buf)
		if err == nil {
			again, err := decodePosition(p.encode())
			require.NoError(t, err)
			require.Equal(t, p, again)
			require.GreaterOrEqual(t, p.offset, int64(0))
		}
	})
}
