package filetail

import (
	"container/list"
	"testing"

	"github.com/stretchr/testify/require"
)

// With two ways from each file to the next but one, there are more ways than could ever be gone.
func TestManyWaysFromOneGenerationToAnother(t *testing.T) {
	e := &Engine{handles: handles{idle: list.New()}, queue: newQueue()}
	files := make([]*file, 200)
	for i := range files {
		files[i] = &file{held: true}
		for _, before := range files[max(0, i-2):i] {
			e.linkLocked(before, files[i])
		}
	}
	require.True(t, files[0].precedes(files[199]))
	require.False(t, files[0].precedes(&file{}))
}
