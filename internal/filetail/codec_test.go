package filetail

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// packed compresses a text.
func packed(t testing.TB, kind, text string) []byte {
	var buf bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&buf)
	if kind == CompressionZstd {
		var err error
		w, err = zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
		require.NoError(t, err)
	}
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func openCodec(t *testing.T, kind string, content []byte) *codec {
	path := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	c := &codec{kind: kind, file: file}
	t.Cleanup(func() { c.stop(); file.Close() })
	return c
}

func TestCodecReadsAtAnyOffset(t *testing.T) {
	text, _ := lines("line", 1, 20000)
	for _, kind := range []string{CompressionGzip, CompressionZstd} {
		t.Run(kind, func(t *testing.T) {
			c := openCodec(t, kind, packed(t, kind, text))
			random := rand.New(rand.NewPCG(1, 2))
			offset := 0
			for range 200 {
				p := make([]byte, 1+random.IntN(20000))
				n, err := c.ReadAt(p, int64(offset))
				require.Equal(t, text[offset:min(len(text), offset+len(p))], string(p[:n]))
				if n < len(p) {
					require.ErrorIs(t, err, io.EOF)
					require.True(t, c.whole)
				}
				switch random.IntN(10) {
				case 0:
					offset = random.IntN(len(text))
				case 1:
					offset = max(0, offset-random.IntN(100))
				default:
					offset = min(len(text), offset+max(0, n-random.IntN(64)))
				}
			}
		})
	}
}

func TestCodecOfAFileThatIsStillWritten(t *testing.T) {
	text, _ := lines("line", 1, 5000)
	for _, kind := range []string{CompressionGzip, CompressionZstd} {
		content := packed(t, kind, text)
		for _, cut := range []int{1, 3, 5, 11, len(content) / 2, len(content) - 1} {
			c := openCodec(t, kind, content[:cut])
			p := make([]byte, len(text)+1)
			n, err := c.ReadAt(p, 0)
			require.ErrorIs(t, err, errUnfinished, "%s cut at %d", kind, cut)
			require.True(t, strings.HasPrefix(text, string(p[:n])))
			require.False(t, c.whole)
		}
	}
}

func TestCodecTellsCorruptData(t *testing.T) {
	text, _ := lines("line", 1, 5000)
	for _, kind := range []string{CompressionGzip, CompressionZstd} {
		content := packed(t, kind, text)
		content[len(content)/2] ^= 0x55
		content[len(content)/2+1] ^= 0x55
		c := openCodec(t, kind, content)
		_, err := c.ReadAt(make([]byte, 100*len(text)), 0)
		require.Error(t, err, kind)
		require.False(t, errors.Is(err, io.EOF), kind)
	}
}

func TestCompressionIsToldByTheFirstBytes(t *testing.T) {
	for _, tt := range []struct {
		configured, content, kind string
		ok                        bool
	}{
		{CompressionNone, "\x1f\x8b\x08\x00", CompressionNone, true},
		{CompressionGzip, "", CompressionGzip, true},
		{CompressionAuto, "", "", false},
		{CompressionAuto, "\x1f", "", false},
		{CompressionAuto, "\x1f\x8b", CompressionGzip, true},
		{CompressionAuto, "\x28\xb5\x2f", "", false},
		{CompressionAuto, "\x28\xb5\x2f\xfd", CompressionZstd, true},
		{CompressionAuto, "a", "", true},
		{CompressionAuto, "\x1fa", "", true},
	} {
		kind, ok, err := compression(tt.configured, strings.NewReader(tt.content))
		require.NoError(t, err)
		require.Equal(t, tt.kind, kind, "%q", tt.content)
		require.Equal(t, tt.ok, ok, "%q", tt.content)
	}
}
