package filetail

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClockThatIsSetCostsNothing: all that a step of the clock leaves in the file system is the times of files. They jump by a day in
// either direction while a log is written, rotates, and is read by one run after the other.
func TestClockThatIsSetCostsNothing(t *testing.T) {
	const day = 24 * time.Hour
	for name, steps := range map[string][]time.Duration{
		"forward":        {0, day, day, day},
		"back":           {0, -day, -day, -day},
		"there and back": {day, -day, day, 0},
		"in the future":  {day, day, 300 * day, 300 * day},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTail(t)
			path, line := x.path("a.log"), 0
			var want []string
			write := func(step time.Duration) {
				for range 3 {
					line++
					want = append(want, fmt.Sprintf("line %d", line))
					x.write("a.log", want[len(want)-1]+"\n")
				}
				stamp := time.Now().Add(step)
				require.NoError(t, os.Chtimes(path, stamp, stamp))
			}
			for i, step := range steps {
				x.run()
				write(step)
				x.want(want...)
				// Rotated with the stamp that it has, and what replaces it has another one.
				require.NoError(t, os.Rename(path, fmt.Sprintf("%s.%d", path, i)))
				write(-step)
				x.want(want...)
				x.stop()
				write(step) // while nobody looks
			}
			x.run()
			x.want(want...)
			x.stop()
			x.run().settledOnce()
			write(0)
			x.want(want...)
		})
	}
}
