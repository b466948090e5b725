package filetail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/logcapture/logcapture/internal/capturetest"
	"github.com/logcapture/logcapture/internal/lineformat"
)

// modelEnv tells the child process of the model test where to work.
const modelEnv = "LOGCAPTURE_MODEL_DIR"

// modelWait is for how long a copy waits for the truncation of its log: far longer than the model needs between the two.
const modelWait = 2 * time.Second

// modelFlush is for how long the rest of a record is waited for: some are torn by it.
const modelFlush = 3 * time.Second

// TestModelChild is the engine of the model test, in a process of its own so that it can be killed. It ends with its standard input.
func TestModelChild(t *testing.T) {
	dir := os.Getenv(modelEnv)
	if dir == "" {
		t.Skip("the child of TestModel")
	}
	out, err := os.OpenFile(filepath.Join(dir, "out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	host := capturetest.NewHost(t, filepath.Join(dir, "storage"))
	for _, name := range []string{"[abct]", "link", "multi", "cri"} {
		x := &tail{t: t, name: name, dir: filepath.Join(dir, "logs"), host: host, consumer: &capturetest.Consumer{}}
		x.settings = Settings{
			Include:      []string{x.path(name + ".log*")},
			PollInterval: 20 * time.Millisecond, ReconcileInterval: 200 * time.Millisecond,
			RotateWait: modelWait, MaxLogSize: 1 << 20, Compression: CompressionAuto, MaxOpenFiles: 16,
		}
		switch name {
		case "multi":
			x.settings.Text.Multiline, x.settings.Text.FlushPeriod = multiline(t, `^\S`, true, false), modelFlush
		case "cri":
			x.settings.Text.Format, x.settings.Text.FlushPeriod = lineformat.CRI, modelFlush
		}
		x.consumer.Answer(func(_ context.Context, logs plog.Logs) error {
			if rand.IntN(20) == 0 {
				return errors.New("refused")
			}
			var text bytes.Buffer
			for _, rl := range logs.ResourceLogs().All() {
				for _, sl := range rl.ScopeLogs().All() {
					for _, lr := range sl.LogRecords().All() {
						text.WriteString(strings.ReplaceAll(lr.Body().AsString(), "\n", "|") + "\n")
					}
				}
			}
			_, err := out.Write(text.Bytes()) // one write: a kill does not tear it
			return err
		})
		x.run()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// model does to files what programs and rotations do, and knows what must come out.
type model struct {
	t      *testing.T
	dir    string
	random *rand.Rand
	logs   []*modelLog
	child  *exec.Cmd
	stdin  io.Closer
	said   bytes.Buffer // by the child
	kills  int
	trace  []string
	did    []string // by this step
	torn   []string // lines that came out in another record than they should
	wrong  []string // records with lines that do not follow each other
}

// note adds to the trace, which is shown when something is wrong.
func (m *model) note(format string, args ...any) {
	m.trace = append(m.trace, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

type modelLog struct {
	name   string
	last   int    // line that was written last
	rest   string // of a line that has begun
	linked int    // of how many targets its path was a link; 0: it is a file
	began  int    // last line of the targets before this one
	// How three lines become a record: in a file, and with | between them where they come out.
	multi, cri bool
	// How it is rotated. What was truncated is not removed: where a copy is all that is left, nothing proves that it is one.
	renamed, copied, compressed, truncated bool
}

func (m *model) path(name string) string { return filepath.Join(m.dir, "logs", name) }

func (m *model) start() {
	m.t.Helper()
	if m.child != nil {
		return
	}
	m.child = exec.Command(os.Args[0], "-test.run=^TestModelChild$")
	m.child.Env = append(os.Environ(), modelEnv+"="+m.dir)
	m.said.Reset()
	m.child.Stdout, m.child.Stderr = &m.said, &m.said
	stdin, err := m.child.StdinPipe()
	require.NoError(m.t, err)
	m.stdin = stdin
	require.NoError(m.t, m.child.Start())
	m.note("start")
}

func (m *model) stop(kill bool) {
	if m.child == nil {
		return
	}
	m.note("stop")
	if kill {
		m.kills++
		_ = m.child.Process.Kill()
	}
	m.stdin.Close()
	err := m.child.Wait()
	m.child = nil
	if !kill {
		require.NoError(m.t, err, "%s", &m.said)
	}
}

// line makes the next line of a log.
func (l *modelLog) line(text string) string {
	l.last++
	text = fmt.Sprintf("%s-%d %s", l.name, l.last, text)
	switch {
	case l.multi && l.last%3 != 1:
		return "  " + text + "\n"
	case l.cri && l.last%3 == 0:
		return cri("stdout", "F", text)
	case l.cri:
		return cri("stdout", "P", text+"|")
	}
	return text + "\n"
}

// appendTo writes lines to a log, and leaves the last one unfinished now and then. Not where an unfinished line is flushed after a time: that tears
// it, as it should, when this machine is slow.
func (m *model) appendTo(l *modelLog, whole bool) {
	text := l.rest
	l.rest = ""
	for range m.random.IntN(50) {
		text += l.line(strings.Repeat("x", m.random.IntN(200)))
	}
	if !whole && !l.multi && m.random.IntN(3) == 0 {
		line := l.line(strings.Repeat("y", m.random.IntN(200)))
		cut := 1 + m.random.IntN(len(line)-1)
		text, l.rest = text+line[:cut], line[cut:]
	}
	f, err := os.OpenFile(m.path(l.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(m.t, err)
	_, err = f.WriteString(text)
	require.NoError(m.t, errors.Join(err, f.Close()))
	m.did = append(m.did, fmt.Sprintf("append up to %d%.1s", l.last, l.rest))
}

// shift makes room for a new generation 1. The writers are done with the others.
func (m *model) shift(l *modelLog) {
	for i := 20; i > 0; i-- {
		for _, ext := range []string{"", ".gz"} {
			_ = os.Rename(m.path(fmt.Sprintf("%s.%d%s", l.name, i, ext)), m.path(fmt.Sprintf("%s.%d%s", l.name, i+1, ext)))
		}
	}
}

// step does one thing.
func (m *model) step() {
	l := m.logs[m.random.IntN(len(m.logs))]
	what := m.random.IntN(24)
	m.did = nil
	defer func() {
		if len(m.did) > 0 {
			m.note("%s %s", l.name, strings.Join(m.did, ", "))
		}
	}()
	switch {
	case what < 12:
		m.appendTo(l, false)
	case l.linked > 0 && what < 16: // another target, in a directory of its own
		if out, _ := m.output(); out[fmt.Sprintf("%s-%d", l.name, l.began+1)] == 0 {
			return // nobody can know of a target that comes and goes unseen
		}
		m.appendTo(l, true)
		l.began = l.last
		l.linked++
		target := m.path(fmt.Sprintf("..%d", l.linked))
		require.NoError(m.t, os.Mkdir(target, 0o700))
		require.NoError(m.t, os.WriteFile(filepath.Join(target, "x"), nil, 0o600))
		require.NoError(m.t, os.Symlink(filepath.Join(target, "x"), m.path("..link")))
		require.NoError(m.t, os.Rename(m.path("..link"), m.path(l.name)))
		m.did = append(m.did, "swap")
	case l.linked > 0:
	case what < 15 && l.renamed:
		m.appendTo(l, true)
		m.shift(l)
		require.NoError(m.t, os.Rename(m.path(l.name), m.path(l.name+".1")))
		m.did = append(m.did, "rename")
	case what < 17 && l.copied:
		m.appendTo(l, true)
		m.shift(l)
		content, err := os.ReadFile(m.path(l.name))
		require.NoError(m.t, err)
		require.NoError(m.t, os.WriteFile(m.path(l.name+".1"), content, 0o600))
		require.NoError(m.t, os.Truncate(m.path(l.name), 0))
		m.did = append(m.did, "copy and truncate")
	case what >= 17 && what < 20 && l.compressed:
		m.compress(l)
	case what >= 17 && what < 20 && l.truncated:
		m.truncate(l)
	case what >= 20 && what < 22:
		m.deleteOldest(l)
	}
}

// truncate empties a log all of which has come out: else its lines would rightly be lost.
func (m *model) truncate(l *modelLog) {
	if _, err := os.Stat(m.path(l.name)); err == nil && l.rest == "" && m.cameOut(m.path(l.name)) {
		require.NoError(m.t, os.Truncate(m.path(l.name), 0))
		m.did = append(m.did, "truncate")
	}
}

// compress compresses a generation as gzip does: slowly, with its time kept, and removes it then.
func (m *model) compress(l *modelLog) {
	path := m.path(fmt.Sprintf("%s.%d", l.name, 1+m.random.IntN(4)))
	content, err := os.ReadFile(path)
	if err != nil {
		return
	}
	m.did = append(m.did, "compress "+filepath.Base(path))
	info, err := os.Stat(path)
	require.NoError(m.t, err)
	data := packed(m.t, CompressionGzip, string(content))
	f, err := os.Create(path + ".gz")
	require.NoError(m.t, err)
	half := len(data) / 2
	_, err = f.Write(data[:half])
	require.NoError(m.t, err)
	time.Sleep(time.Duration(m.random.IntN(50)) * time.Millisecond)
	_, err = f.Write(data[half:])
	require.NoError(m.t, errors.Join(err, f.Close(), os.Chtimes(path+".gz", info.ModTime(), info.ModTime()), os.Remove(path)))
}

// deleteOldest deletes the oldest generation, as rotation does, when all of it has come out: else its lines would rightly be lost.
func (m *model) deleteOldest(l *modelLog) {
	for i := 20; i > 3; i-- {
		for _, ext := range []string{"", ".gz"} {
			path := m.path(fmt.Sprintf("%s.%d%s", l.name, i, ext))
			if _, err := os.Stat(path); err == nil {
				if ext == "" && m.cameOut(path) {
					require.NoError(m.t, os.Remove(path))
					m.did = append(m.did, "delete "+filepath.Base(path))
				}
				return
			}
		}
	}
}

func (m *model) cameOut(path string) bool {
	content, err := os.ReadFile(path)
	require.NoError(m.t, err)
	out, _ := m.output()
	for line := range strings.Lines(string(content)) {
		if name, _, _ := strings.Cut(line, " "); out[name] == 0 {
			return false
		}
	}
	return true
}

// output returns how often each line came out, and the lines of each log in their order as runs of successive ones.
func (m *model) output() (times map[string]int, runs map[string][]run) {
	times, runs = make(map[string]int), make(map[string][]run)
	m.torn, m.wrong = nil, nil
	f, err := os.Open(filepath.Join(m.dir, "out"))
	if err != nil {
		return times, runs
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		before := 0
		for i, line := range strings.Split(scanner.Text(), "|") {
			name, _, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
			if name == "" { // the record ends behind a piece
				m.torn = append(m.torn, scanner.Text())
				continue
			}
			if n := m.add(name, i, line, times, runs); i > 0 && n != before+1 {
				m.wrong = append(m.wrong, scanner.Text())
			} else {
				before = n
			}
		}
	}
	return times, runs
}

// add counts a line that came as number i of its record, and returns its number.
func (m *model) add(name string, i int, line string, times map[string]int, runs map[string][]run) int {
	times[name]++
	log, number, _ := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	require.NoError(m.t, err, "a torn line: %q behind line %d\n%s", line, len(times), strings.Join(m.trace, "\n"))
	if joined := log == "multi.log" || log == "cri.log"; joined && i != (n-1)%3 {
		m.torn = append(m.torn, name)
	}
	if last := len(runs[log]) - 1; last >= 0 && n == runs[log][last].last+1 {
		runs[log][last].last = n
	} else {
		runs[log] = append(runs[log], run{n, n})
	}
	return n
}

// run are successive lines.
type run struct{ first, last int }

// explain shows what came of a log, and what was done to it.
func (m *model) explain(log string, runs []run) {
	m.t.Helper()
	var done []string
	for _, step := range m.trace {
		if _, what, _ := strings.Cut(step, " "); strings.HasPrefix(what, log) || !strings.Contains(what, ".log") {
			done = append(done, step)
		}
	}
	m.t.Logf("%s came as %v\n%s", log, runs, strings.Join(done, "\n"))
}

// finish ends the lines that have begun, and waits until all have come out.
func (m *model) finish() {
	for _, l := range m.logs {
		m.appendTo(l, true)
	}
	m.start()
	missing := func() (names []string) {
		out, _ := m.output()
		for _, l := range m.logs {
			for i := 1; i <= l.last; i++ {
				if name := fmt.Sprintf("%s-%d", l.name, i); out[name] == 0 {
					names = append(names, name)
				}
			}
		}
		return names
	}
	for deadline := time.Now().Add(capturetest.Patience); len(missing()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("lines are lost: %v\n%s", missing(), strings.Join(m.trace, "\n"))
		}
	}
	time.Sleep(modelWait + time.Second) // for what would come twice
	m.stop(false)
}

func TestModel(t *testing.T) {
	lasting := 4 * time.Second
	if text := os.Getenv("LOGCAPTURE_MODEL_TIME"); text != "" {
		var err error
		lasting, err = time.ParseDuration(text)
		require.NoError(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LOGCAPTURE_MODEL_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", killed), func(t *testing.T) {
			t.Logf("LOGCAPTURE_MODEL_SEED=%d", seed)
			m := &model{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
			require.NoError(t, errors.Join(os.Mkdir(m.path(""), 0o700), os.Mkdir(filepath.Join(m.dir, "storage"), 0o700)))
			m.logs = []*modelLog{
				{name: "a.log", renamed: true, compressed: true},
				{name: "b.log", copied: true, compressed: true},
				{name: "c.log", renamed: true, copied: true},
				{name: "t.log", renamed: true, truncated: true},
				{name: "link.log", linked: 1},
				{name: "multi.log", multi: true, copied: true, compressed: true},
				{name: "cri.log", cri: true, renamed: true, compressed: true},
			}
			require.NoError(t, os.Mkdir(m.path("..1"), 0o700))
			require.NoError(t, os.WriteFile(m.path("..1/x"), nil, 0o600))
			require.NoError(t, os.Symlink(m.path("..1/x"), m.path("link.log")))
			t.Cleanup(func() { m.stop(true) })
			m.start()
			for end := time.Now().Add(lasting); time.Now().Before(end); {
				m.step()
				time.Sleep(time.Duration(m.random.IntN(30)) * time.Millisecond)
				switch m.random.IntN(60) {
				case 0:
					m.stop(killed)
				case 1, 2, 3:
					m.start()
				}
			}
			m.finish()
			out, runs := m.output()
			all, twice, backward := 0, 0, 0
			for _, l := range m.logs {
				came, lines, back := runs[l.name], 0, 0
				for i, r := range came {
					lines += r.last - r.first + 1
					if i > 0 && r.first < came[i-1].last {
						back++
					}
				}
				all, twice, backward = all+l.last, twice+lines-l.last, backward+back
				// The last record of a copy that was never read as the log comes when its time is over, with the log read meanwhile.
				if !killed && (lines > l.last || back > 0 && !l.multi) {
					t.Errorf("of %s %d lines came twice, %d times a line came after a later one", l.name, lines-l.last, back)
					m.explain(l.name, came)
				}
			}
			require.Len(t, out, all, "nothing else came")
			if len(m.wrong) > 0 {
				m.explain("multi.log", runs["multi.log"])
				m.explain("cri.log", runs["cri.log"])
			}
			require.Empty(t, m.wrong, "records of lines that do not belong together")
			t.Logf("%d lines, %d of them repeated by %d kills, %d times after a later one, %d in a record that is torn", all, twice, m.kills, backward, len(m.torn))
		})
	}
}
