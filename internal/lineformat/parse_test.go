package lineformat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func stampOf(t testing.TB, text string) int64 {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	return parsed.UnixNano()
}

func TestStamps(t *testing.T) {
	for _, text := range []string{
		"2024-02-29T23:59:59.123456789Z", "2023-06-22T10:27:25.813799277Z", "1970-01-01T00:00:00Z", "2261-12-31T23:59:59.999999999Z",
		"2023-06-22T10:27:25.8-07:00", "2023-06-22T10:27:25.000000001+05:30", "2000-03-01T00:00:00.5Z", "2100-02-28T00:00:00Z",
	} {
		stamp, size := new(Clock).Stamp([]byte(text + " x"))
		require.Len(t, text, size)
		require.Equal(t, stampOf(t, text), stamp, text)
	}
	for _, text := range []string{
		"", "2023", "2023-06-22T10:27:25", "2023-06-22 10:27:25Z", "2023-13-22T10:27:25Z", "2023-02-29T10:27:25Z", "2100-02-29T10:27:25Z",
		"2023-06-22T24:27:25Z", "2023-06-22T10:60:25Z", "2023-06-22T10:27:60Z", "2023-06-22T10:27:25.Z", "2o23-06-22T10:27:25Z",
		"2023-06-22T10:27:25+07", "2023-06-22T10:27:25+0700", "1969-06-22T10:27:25Z", "2262-06-22T10:27:25Z", "2023-06-00T10:27:25Z",
	} {
		_, size := new(Clock).Stamp([]byte(text))
		require.Zero(t, size, text)
	}
}

func FuzzStamp(f *testing.F) {
	f.Add("2023-06-22T10:27:25.813799277Z")
	f.Add("2024-02-29T00:00:00.1+05:30")
	f.Fuzz(func(t *testing.T, text string) {
		stamp, size := new(Clock).Stamp([]byte(text))
		want, err := time.Parse(time.RFC3339Nano, text)
		valid := err == nil && want.Year() >= 1971 && want.Year() <= 2260 && !strings.Contains(text, ",")
		if valid && len(text) >= 20 && text[13] == ':' { // time.Parse takes hours of one digit
			require.Len(t, text, size, text)
			require.Equal(t, want.UnixNano(), stamp, text)
		}
		if size > 0 {
			want, err = time.Parse(time.RFC3339Nano, text[:size])
			require.NoError(t, err)
			require.Equal(t, want.UnixNano(), stamp, text)
		}
	})
}

const stamp = "2023-06-22T10:27:25.813799277Z"

func TestLinesOfCRI(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Entry
	}{
		{stamp + " stdout F log  content ", Entry{Text: []byte("log  content "), Stream: Stdout}},
		{stamp + " stderr P part", Entry{Text: []byte("part"), Stream: Stderr, Partial: true}},
		{stamp + " stdout F ", Entry{Text: []byte(""), Stream: Stdout}},
		{stamp + " stdout F", Entry{Stream: Stdout}},
		{stamp + " stdout P:tag:other x", Entry{Text: []byte("x"), Stream: Stdout, Partial: true}},
		{stamp + " stdout F \xff\tx\r", Entry{Text: []byte("\xff\tx\r"), Stream: Stdout}},
	} {
		p := Parser{Format: CRI}
		tt.want.Time = stampOf(t, stamp)
		require.Equal(t, tt.want, p.Parse([]byte(tt.line)), tt.line)
		p.Format = Auto
		require.Equal(t, tt.want, p.Parse([]byte(tt.line)), tt.line)
	}
	for _, line := range []string{
		"", "text", stamp, stamp + " ", stamp + " stdout", stamp + " stdout ", stamp + " stdin0 F x", stamp + " stdout X x",
		stamp + "  stdout F x", stamp + " stdout Fx", "yesterday stdout F x",
	} {
		p := Parser{Format: CRI}
		require.Equal(t, Entry{Text: []byte(line), Malformed: true}, p.Parse([]byte(line)), line)
		p.Format = Auto
		require.Equal(t, Entry{Text: []byte(line)}, p.Parse([]byte(line)), "raw text is no mistake where it is detected")
	}
}

func docker(text string) string {
	return `{"log":` + text + `,"stream":"stderr","time":"` + stamp + `"}`
}

func TestLinesOfDocker(t *testing.T) {
	for _, tt := range []struct{ log, text string }{
		{`"plain\n"`, "plain"},
		{`"\n"`, ""},
		{`"tab\t quote\" slash\\ solidus\/ \b\f\r bell\u0007\n"`, "tab\t quote\" slash\\ solidus/ \b\f\r bell\a"},
		{`"line\u2028separator\u003c\u003E\n"`, "line\u2028separator<>"},
		{`"\ud83d\ude00 pair\n"`, "😀 pair"},
		{`"\ud83d alone\n"`, "\uFFFD alone"},
		{`"\ud83dx\ude00\ud83d\n"`, "\uFFFDx\uFFFD\uFFFD"},
		{`"raw é \n"`, "raw é "},
		{`"carriage return\r\n"`, "carriage return"},
		{`"ends in slash\\\n"`, `ends in slash\`},
	} {
		for _, format := range []Format{Docker, Auto} {
			p := Parser{Format: format}
			e := p.Parse([]byte(docker(tt.log)))
			e.Text = append([]byte{}, e.Text...)
			require.Equal(t, Entry{Text: []byte(tt.text), Stream: Stderr, Time: stampOf(t, stamp)}, e, tt.log)
		}
	}
}

func TestLineOfDockerWithoutLineFeedGoesOn(t *testing.T) {
	for text, want := range map[string]string{`"part"`: "part", `"part\r"`: "part\r", `""`: "", `"a\\n"`: `a\n`} {
		p := Parser{Format: Docker}
		e := p.Parse([]byte(docker(text)))
		require.True(t, e.Partial, text)
		require.Equal(t, want, string(e.Text))
	}
}

func TestOtherMembersOfDockerArePassedOver(t *testing.T) {
	p := Parser{Format: Docker}
	for _, attrs := range []string{
		`{"a":"b","c\"":"}"}`, `null`, `12.5e3`, `[1,{"x":[]},"]"]`, `{}`, `[]`, `""`, `true`,
	} {
		line := ` { "attrs" : ` + attrs + ` , "log":"x\n" ,"stream":"stdout","time":"` + stamp + `" } `
		e := p.Parse([]byte(line))
		require.Equal(t, "x false", fmt.Sprint(string(e.Text), " ", e.Malformed), line)
	}
}

func TestCorruptLinesOfDockerAreTakenAsTheyAre(t *testing.T) {
	good := docker(`"x\n"`)
	p := Parser{Format: Docker}
	for i := range good {
		require.Equal(t, Entry{Text: []byte(good[:i]), Malformed: true}, p.Parse([]byte(good[:i])))
	}
	for _, line := range []string{
		"", "text", "{}", good + good, good + "x", strings.ReplaceAll(good, `"log"`, `"lag"`), strings.ReplaceAll(good, stamp, "yesterday"),
		docker(`12`), docker(`null`), docker(`"\q"`), docker(`"\u12"`), docker(`"\u12g4"`), strings.ReplaceAll(good, ",", ";"),
		strings.ReplaceAll(good, ",", ",,"), "\x00\x00\x00" + good, `{"log":}`, `{"a":}}`, `{"a":,` + good[1:],
	} {
		require.Equal(t, Entry{Text: []byte(line), Malformed: true}, p.Parse([]byte(line)), line)
	}
}

// FuzzDocker compares with encoding/json, which is stricter in what it takes, and as strict in what it makes of that.
func FuzzDocker(f *testing.F) {
	f.Add([]byte(docker(`"a\tb\u2028\ud83d\ude00\n"`)))
	f.Add([]byte(docker(`"say \"a\"\\"`)))
	f.Add([]byte(docker(`"a","log":"b"`)))
	f.Add([]byte(`{"attrs":{"a":[1,"]"]},"log":"x","stream":"stdout","time":"` + stamp + `"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var p, other Parser
		if usual, ended, ok := p.usual(line); ok {
			e, otherEnded, otherOK := other.object(line)
			require.True(t, otherOK)
			require.Equal(t, e, usual)
			require.Equal(t, otherEnded, ended)
		}
		p.Format = Docker
		e := p.Parse(line)
		var members map[string]json.RawMessage
		var want struct {
			Log    *string
			Stream string
			Time   time.Time
		}
		if json.Unmarshal(line, &members) != nil || json.Unmarshal(line, &want) != nil || !utf8.Valid(line) {
			return
		}
		if members["log"] == nil || members["time"] == nil || want.Log == nil || len(members) != bytes.Count(line, []byte(`":`)) {
			return // other members that encoding/json takes for these, or keys that come twice
		}
		if e.Malformed {
			if raw := members["time"]; len(raw) > 14 && raw[14] != ':' {
				return // encoding/json takes hours of one digit
			}
			require.False(t, want.Time.Year() > 1971 && want.Time.Year() < 2261 && bytes.Contains(members["time"], []byte("T")) &&
				!bytes.ContainsAny(members["time"], `\`), string(line))
			return
		}
		text, whole := strings.CutSuffix(*want.Log, "\n")
		if whole {
			text = strings.TrimSuffix(text, "\r")
		}
		require.Equal(t, text, string(e.Text))
		require.Equal(t, !whole, e.Partial)
		require.Equal(t, want.Time.UnixNano(), e.Time)
	})
}

// FuzzCRI compares with a way that is obvious.
func FuzzCRI(f *testing.F) {
	f.Add([]byte(stamp + " stdout F text"))
	f.Add([]byte(stamp + " stderr P:x "))
	f.Fuzz(func(t *testing.T, line []byte) {
		p := Parser{Format: CRI}
		e := p.Parse(line)
		fields := strings.SplitN(string(line), " ", 4)
		if len(fields) == 3 {
			fields = append(fields, "")
		}
		want := Entry{Text: line, Malformed: true}
		if len(fields) == 4 && (fields[1] == "stdout" || fields[1] == "stderr") {
			tag, _, _ := strings.Cut(fields[2], ":")
			when, size := new(Clock).Stamp([]byte(fields[0]))
			if size > 0 && size == len(fields[0]) && (tag == "P" || tag == "F") {
				want = Entry{Text: []byte(fields[3]), Time: when, Stream: Stdout, Partial: tag == "P"}
				if fields[1] == "stderr" {
					want.Stream = Stderr
				}
			}
		}
		e.Text, want.Text = append([]byte{}, e.Text...), append([]byte{}, want.Text...)
		require.Equal(t, want, e)
	})
}

func BenchmarkParse(b *testing.B) {
	text := strings.Repeat("x", 150)
	for _, bb := range []struct {
		name   string
		format Format
		line   string
	}{
		{"cri", CRI, stamp + " stdout F " + text},
		{"docker", Docker, docker(`"` + text + `\n"`)},
		{"docker, attributes", Docker, strings.Replace(docker(`"`+text+`\n"`), `,"time"`, `,"attrs":{"tag":"web"},"time"`, 1)},
		{"docker, escapes", Docker, docker(`"` + strings.Repeat(`\"x\":1, `, 15) + `\n"`)},
		{"auto, cri", Auto, stamp + " stdout F " + text},
		{"auto, raw", Auto, text},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := Parser{Format: bb.format}
			line := []byte(bb.line)
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				p.Parse(line)
			}
		})
	}
}
