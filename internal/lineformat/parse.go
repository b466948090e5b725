package lineformat

// Format is how the lines of a file are written.
type Format uint8

// The formats.
const (
	Raw    Format = iota // a line is its text
	CRI                  // as containerd and CRI-O write: "<time> <stdout|stderr> <P|F> <text>"
	Docker               // as Docker's json-file driver writes: {"log":"<text>\n","stream":"stdout","time":"<time>"}
	Auto                 // each line as what it looks like: CRI, Docker, else raw
)

// Formats are the names of the formats, as in configurations.
var Formats = map[string]Format{"raw": Raw, "cri": CRI, "docker": Docker, "auto": Auto}

// Stream is the stream of a process that a line was written to.
type Stream uint8

// The streams. Lines of which none is known are a stream of their own.
const (
	Unknown Stream = iota
	Stdout
	Stderr
)

// Entry is what one line of a file says.
type Entry struct {
	Text   []byte // shares the memory of the line, or of the parser until its next line
	Time   int64  // nanoseconds since the Unix epoch, 0 for unknown
	Stream Stream
	// Partial says that the text goes on with the next entry of the stream.
	Partial bool
	// Malformed says that the line is not in its format: its text is the whole line.
	Malformed bool
}

// Parser reads lines of one format. It is used by one goroutine at a time.
type Parser struct {
	Format Format
	// KeepReturn keeps the carriage return before the line feed of a Docker line.
	KeepReturn bool
	text       []byte // of a Docker line that has escapes
	clock      Clock
}

// Parse reads a line without its end. What is not in the format is taken as it is, and marked; with [Auto] it is raw text.
func (p *Parser) Parse(line []byte) (e Entry) {
	ok := false
	switch p.Format {
	case CRI:
		e, ok = p.parseCRI(line)
	case Docker:
		e, ok = p.parseDocker(line)
	case Auto:
		if len(line) > 0 && line[0] == '{' {
			e, ok = p.parseDocker(line)
		} else {
			e, ok = p.parseCRI(line)
		}
		if !ok {
			return Entry{Text: line}
		}
	default:
		return Entry{Text: line}
	}
	if !ok {
		return Entry{Text: line, Malformed: true}
	}
	return e
}

// Trim gives back memory that a long line has taken.
func (p *Parser) Trim() {
	const keep = 64 << 10
	if cap(p.text) > keep {
		p.text = nil
	}
}

// parseCRI reads "<time> <stream> <tags> <text>". Tags are divided by colons; the first is P for a text that goes on, else F.
func (p *Parser) parseCRI(line []byte) (e Entry, ok bool) {
	var n int
	e.Time, n = p.clock.Stamp(line)
	const stream = len(" stdout ")
	if n == 0 || len(line) < n+stream+1 || line[n] != ' ' || line[n+stream-1] != ' ' {
		return e, false
	}
	switch string(line[n+1 : n+stream-1]) {
	case "stdout":
		e.Stream = Stdout
	case "stderr":
		e.Stream = Stderr
	default:
		return e, false
	}
	rest := line[n+stream:]
	if rest[0] != 'P' && rest[0] != 'F' {
		return e, false
	}
	e.Partial = rest[0] == 'P'
	if rest = rest[1:]; len(rest) > 0 && rest[0] == ':' {
		for len(rest) > 0 && rest[0] != ' ' {
			rest = rest[1:]
		}
	}
	if len(rest) == 0 {
		return e, true // an empty line, written without the blank
	}
	e.Text = rest[1:]
	return e, rest[0] == ' '
}
