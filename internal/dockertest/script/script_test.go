package script

import (
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestArgsAndParseKeepEveryStep(t *testing.T) {
	steps := []Step{
		Lines{Stream: Both, Count: 3, PerSecond: 1.5, Length: 80, Block: 4096, NoFinalNewline: true, Resume: true, PerRun: 7},
		Raw{Stream: Stderr, Data: []byte{0, '\n', 0xff, ' '}, Repeat: 2},
		Wait{Signal: "TERM", File: "/go", Millis: 5},
		Wait{},
		Exit{Code: 3},
		Exit{},
	}
	args, err := Args(steps)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(args)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, steps) {
		t.Fatalf("got %+v, want %+v", got, steps)
	}
}

func TestParseRefusesWhatIsNoStep(t *testing.T) {
	for _, arg := range []string{``, `lines`, `{}`, `{"line":{}}`, `{"lines":{"count":"x"}}`} {
		if steps, err := Parse([]string{arg}); err == nil {
			t.Errorf("%q was read as %+v", arg, steps)
		}
	}
}

func TestLineIsReadBack(t *testing.T) {
	for _, length := range []int{0, 1, 14, 15, 16, 200, 40_000} {
		for _, seq := range []int{1, 9, 26, 123_456_789} {
			line := string(AppendLine(nil, "file-07", 12, seq, length))
			if len(line) < length {
				t.Fatalf("length %d: got %d bytes", length, len(line))
			}
			if strings.Contains(line, "\n") {
				t.Fatalf("line feed in %q", line)
			}
			stream, run, got, ok := ParseLine(line)
			if !ok || stream != "file-07" || run != 12 || got != seq {
				t.Fatalf("length %d, seq %d: got %q %d %d %t", length, seq, stream, run, got, ok)
			}
		}
	}
}

func TestLineThatWasCutOrMixedIsNotOne(t *testing.T) {
	line := string(AppendLine(nil, Stdout, 1, 17, 60))
	for name, text := range map[string]string{
		"empty":             "",
		"no number":         "stdout-1-",
		"one number":        "stdout-1",
		"head cut":          line[8:],
		"joined with next":  line + string(AppendLine(nil, Stdout, 1, 18, 60)),
		"byte lost":         line[:30] + line[31:],
		"trailing CR":       line + "\r",
		"letters elsewhere": strings.Replace(line, "stdout-1-17", "stdout-1-18", 1),
	} {
		if stream, run, seq, ok := ParseLine(text); ok {
			t.Errorf("%s: %q was read as %q %d %d", name, text, stream, run, seq)
		}
	}
}
