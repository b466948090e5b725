//go:build linux

package e2e

import (
	"testing"
)

// TestEveryLineOfFilesOnce needs no engine: files that rotate by renaming while the collector is stopped and started.
func TestEveryLineOfFilesOnce(t *testing.T) {
	dir := t.TempDir()
	sink := newSink(t)
	lines := check(sink)
	col := newCollector(t, settings{endpoint: sink.addr, receivers: map[string]any{
		"file_tail": map[string]any{
			"include": []string{dir + "/*.log*"}, "start_at": "beginning", "storage": "file_storage",
		},
	}})
	writers := make([]fileWriter, files)
	for i := range writers {
		writers[i] = fileWriter{dir: dir, name: string(rune('a' + i)), lines: fileLines, perSecond: 1000, rotateEvery: linesPerFile}
		lines.expect(writers[i].name, fileLines)
	}
	written := background(t, writers)
	for range 3 {
		col.start()
		captured(t, lines, files*fileLines/6)
		col.stop(stopLimit)
	}
	written.wait()
	col.start()
	lines.complete(t, completionLimit)
	base := settled(t, col, "")
	budget{t: t, base: base, dir: dir}.flat("when all have written", func() sample { return col.sample("") })
	col.stop(stopLimit)
	col.start()
	writeOne(t, lines, dir, "last")
	col.stop(stopLimit)
	lines.exact(t)
	if mixed := lines.mixed(); mixed != "" {
		t.Errorf("lines of rotated files came after those of a later file of their name:%s", mixed)
	}
}
