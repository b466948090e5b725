// Package script is the language in which a test tells the log-writing container what to do: a list of steps, each one
// JSON argument of the container's command. It stands apart from package dockertest so that the static program inside
// the image can share the types without taking in the Docker client. Standard library only, no concurrency.
package script

import (
	"encoding/json"
	"fmt"
)

// The values of the Stream fields.
const (
	Stdout = "stdout"
	Stderr = "stderr"
	Both   = "both"
)

// Step is one thing to do: a Lines, Raw, Wait or Exit value. Steps run one after the other. A SIGTERM that comes during
// a step ends it after a whole line; the script then goes on behind the next Wait for TERM, or, where none follows,
// ends with exit code 143.
type Step interface{ name() string }

// Lines writes numbered lines `<stream>-<run>-<seq>`, see Line. Numbers start at 1 in each run and go on over all Lines
// steps of a run.
type Lines struct {
	// Stream is Stdout (also when empty), Stderr, or Both: then each number is written to stdout and to stderr.
	Stream string `json:"stream,omitempty"`
	// Count is the number of lines per stream; 0 means for ever.
	Count int `json:"count,omitempty"`
	// PerSecond limits the lines per second and stream; 0 means full speed.
	PerSecond float64 `json:"per_second,omitempty"`
	// Length pads each line to that many bytes, line feed not counted.
	Length int `json:"length,omitempty"`
	// Block collects that many bytes before a write; 0 makes each line a write of its own.
	Block int `json:"block,omitempty"`
	// NoFinalNewline leaves out the line feed of the last line.
	NoFinalNewline bool `json:"no_final_newline,omitempty"`
	// Resume goes on with the numbers where the run before ended, so that Count is the total over all runs.
	Resume bool `json:"resume,omitempty"`
	// PerRun ends the step after that many lines per stream in one run, whatever Count says; 0 is no limit.
	PerRun int `json:"per_run,omitempty"`
}

// Raw writes Data as it is, in one write.
type Raw struct {
	Stream string `json:"stream,omitempty"`
	Data   []byte `json:"data,omitempty"`
	// Repeat writes it that many times; 0 is once.
	Repeat int `json:"repeat,omitempty"`
}

// Wait blocks until the first of the things named happens; with none named it blocks for ever.
type Wait struct {
	// Signal is TERM, INT, HUP, USR1 or USR2.
	Signal string `json:"signal,omitempty"`
	// File is a path that has to exist.
	File string `json:"file,omitempty"`
	// Millis is a time in milliseconds.
	Millis int `json:"millis,omitempty"`
}

// Exit ends the process.
type Exit struct {
	Code int `json:"code"`
}

func (Lines) name() string { return "lines" }
func (Raw) name() string   { return "raw" }
func (Wait) name() string  { return "wait" }
func (Exit) name() string  { return "exit" }

// Args encodes the steps as command line arguments.
func Args(steps []Step) ([]string, error) {
	args := make([]string, 0, len(steps))
	for _, s := range steps {
		b, err := json.Marshal(map[string]Step{s.name(): s})
		if err != nil {
			return nil, fmt.Errorf("encode step %s: %w", s.name(), err)
		}
		args = append(args, string(b))
	}
	return args, nil
}

// Parse is the inverse of Args.
func Parse(args []string) ([]Step, error) {
	steps := make([]Step, 0, len(args))
	for _, arg := range args {
		var one struct {
			Lines *Lines
			Raw   *Raw
			Wait  *Wait
			Exit  *Exit
		}
		if err := json.Unmarshal([]byte(arg), &one); err != nil {
			return nil, fmt.Errorf("decode step %q: %w", arg, err)
		}
		switch {
		case one.Lines != nil:
			steps = append(steps, *one.Lines)
		case one.Raw != nil:
			steps = append(steps, *one.Raw)
		case one.Wait != nil:
			steps = append(steps, *one.Wait)
		case one.Exit != nil:
			steps = append(steps, *one.Exit)
		default:
			return nil, fmt.Errorf("decode step %q: unknown step", arg)
		}
	}
	return steps, nil
}

// AppendLine appends the numbered line without a line feed: `<stream>-<run>-<seq>`, and when length asks for more, a
// blank and letters that depend on the number, so that cut or mixed lines show. It takes part in the writers of files
// too, and ParseLine reads it back.
func AppendLine(b []byte, stream string, run, seq, length int) []byte {
	start := len(b)
	b = fmt.Appendf(b, "%s-%d-%d", stream, run, seq)
	if len(b)-start < length {
		b = append(b, ' ')
	}
	for i := seq; len(b)-start < length; i++ {
		b = append(b, letter(i))
	}
	return b
}

// letter returns the i-th letter of a text that does not repeat itself.
func letter(i int) byte {
	x := uint64(i) * 0x9E3779B97F4A7C15 //nolint:gosec // any bits will do
	x ^= x >> 29
	return byte('a' + (x*0xBF58476D1CE4E5B9>>40)%26) //nolint:gosec // below 26
}

// ParseLine splits a numbered line; ok is false when the text is not exactly one, padding included.
func ParseLine(text string) (stream string, run, seq int, ok bool) {
	head, pad := text, ""
	for i := range len(text) {
		if text[i] == ' ' {
			head, pad = text[:i], text[i+1:]
			break
		}
	}
	if seq, head, ok = cutNumber(head); !ok {
		return "", 0, 0, false
	}
	if run, stream, ok = cutNumber(head); !ok {
		return "", 0, 0, false
	}
	for i := range len(pad) {
		if pad[i] != letter(seq+i) {
			return "", 0, 0, false
		}
	}
	return stream, run, seq, true
}

// cutNumber takes `-<number>` off the end of s.
func cutNumber(s string) (n int, rest string, ok bool) {
	i, unit := len(s), 1
	for i > 0 && s[i-1] >= '0' && s[i-1] <= '9' && len(s)-i < 18 {
		i--
		n += int(s[i]-'0') * unit
		unit *= 10
	}
	if i == len(s) || i < 2 || s[i-1] != '-' {
		return 0, s, false
	}
	return n, s[:i-1], true
}
