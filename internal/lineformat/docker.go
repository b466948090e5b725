package lineformat

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// parseDocker reads a line of the json-file driver: an object with the strings log, stream and time. Other members, such as attrs, are
// passed over. A text without a line feed at its end goes on with the next line.
func (p *Parser) parseDocker(line []byte) (Entry, bool) {
	e, ended, ok := p.usual(line)
	if !ok {
		e, ended, ok = p.object(line)
	}
	if e.Partial = ok && !ended; ok && ended && !p.KeepReturn {
		e.Text = bytes.TrimSuffix(e.Text, carriageReturn)
	}
	return e, ok
}

// usual reads what the driver writes for a container without attributes: these members, in this order, and nothing between them. Where
// it does not find that, it says nothing of the line.
func (p *Parser) usual(line []byte) (e Entry, ended, ok bool) {
	const (
		head   = `{"log":`
		stdout = `,"stream":"stdout","time":"`
		stderr = `,"stream":"stderr","time":"`
		tail   = `"}`
	)
	if len(line) < len(head)+len(stdout)+stampMin+len(tail) || string(line[:len(head)]) != head {
		return Entry{}, false, false
	}
	text, ended, next := p.unquote(line, len(head))
	if next < 0 || len(line)-next < len(stdout)+stampMin+len(tail) {
		return Entry{}, false, false
	}
	switch rest := line[next:]; string(rest[:len(stdout)]) {
	case stdout:
		e.Stream = Stdout
	case stderr:
		e.Stream = Stderr
	default:
		return Entry{}, false, false
	}
	line = line[next+len(stdout):]
	size := 0
	if e.Time, size = p.clock.Stamp(line); size == 0 || string(line[size:]) != tail {
		return Entry{}, false, false
	}
	e.Text = text
	return e, ended, true
}

// object reads a line that has the members in another order, and others too.
func (p *Parser) object(line []byte) (e Entry, ended, ok bool) {
	i := blanks(line, 0)
	if i == len(line) || line[i] != '{' {
		return e, ended, false
	}
	var seen struct{ log, time bool }
	for i = blanks(line, i+1); ; {
		if i = blanks(line, i); i == len(line) {
			return e, ended, false
		}
		if line[i] == '}' {
			break
		}
		key, next := quoted(line, i)
		if next < 0 {
			return e, ended, false
		}
		if i = blanks(line, next); i == len(line) || line[i] != ':' {
			return e, ended, false
		}
		i = blanks(line, i+1)
		switch string(key) {
		case "log":
			e.Text, ended, i = p.unquote(line, i)
			seen.log = true
		case "stream":
			e.Stream, i = dockerStream(line, i)
		case "time":
			e.Time, i = p.dockerTime(line, i)
			seen.time = true
		default:
			i = skipValue(line, i)
		}
		if i < 0 {
			return e, ended, false
		}
		if i = blanks(line, i); i == len(line) {
			return e, ended, false
		}
		if line[i] == ',' {
			if i = blanks(line, i+1); i == len(line) || line[i] != '"' {
				return e, ended, false
			}
		} else if line[i] != '}' {
			return e, ended, false
		}
	}
	if !seen.log || !seen.time || blanks(line, i+1) != len(line) {
		return e, ended, false
	}
	return e, ended, true
}

var (
	lineFeed       = []byte("\n")
	carriageReturn = []byte("\r")
)

// blanks returns where the first byte at or behind i is that is no white space of JSON.
func blanks(line []byte, i int) int {
	for i < len(line) && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r' || line[i] == '\n') {
		i++
	}
	return i
}

// quoted returns what is between the quotes of the string that begins at i, as it is written, and the place behind it, -1 for none.
func quoted(line []byte, i int) (text []byte, next int) {
	if i >= len(line) || line[i] != '"' {
		return nil, -1
	}
	for start, at := i+1, i+1; ; {
		end := bytes.IndexByte(line[at:], '"')
		if end < 0 {
			return nil, -1
		}
		end += at
		slashes := 0
		for end-1-slashes >= start && line[end-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return line[start:end], end + 1
		}
		at = end + 1
	}
}

func dockerStream(line []byte, i int) (s Stream, next int) {
	text, next := quoted(line, i)
	switch string(text) {
	case "stdout":
		s = Stdout
	case "stderr":
		s = Stderr
	}
	return s, next
}

func (p *Parser) dockerTime(line []byte, i int) (stamp int64, next int) {
	text, next := quoted(line, i)
	stamp, size := p.clock.Stamp(text)
	if size == 0 || size != len(text) {
		return 0, -1
	}
	return stamp, next
}

// skipValue returns the place behind the value that begins at i, -1 where it does not end. What is between brackets is not looked at
// closer: that they match is enough to find the end.
func skipValue(line []byte, i int) int {
	for depth := 0; i < len(line); {
		switch line[i] {
		case '"':
			if _, i = quoted(line, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return -1
			}
			depth--
			i++
		case ',', ':', ' ', '\t':
			if depth == 0 {
				return -1 // there is no value
			}
			i++
			continue
		default:
			for i < len(line) && bytes.IndexByte(endsOfLiteral, line[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

var endsOfLiteral = []byte(",:]}[{\" \t")

// unquote returns the text of the string that begins at i without the line feed at its end, whether it had one, and the place behind
// it, -1 for none. Bytes that are no UTF-8 stay as they are. Without other escapes, the text shares the memory of the line.
func (p *Parser) unquote(line []byte, i int) (text []byte, ended bool, next int) {
	raw, next := quoted(line, i)
	if next < 0 {
		return nil, false, -1
	}
	slash := bytes.IndexByte(raw, '\\')
	if slash < 0 {
		text, ended = bytes.CutSuffix(raw, lineFeed)
		return text, ended, next
	}
	// Most lines have one escape: the line feed at their end.
	if slash == len(raw)-2 && raw[slash+1] == 'n' {
		return raw[:slash], true, next
	}
	p.text = p.text[:0]
	for slash >= 0 {
		p.text = append(p.text, raw[:slash]...)
		raw = raw[slash:]
		size := p.unescape(raw)
		if size == 0 {
			return nil, false, -1
		}
		raw = raw[size:]
		slash = bytes.IndexByte(raw, '\\')
	}
	p.text = append(p.text, raw...)
	text, ended = bytes.CutSuffix(p.text, lineFeed)
	return text, ended, next
}

// escapes has the characters behind a backslash that stand for another, or for themselves.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends what the escape at the beginning of raw stands for, and returns the length of that, 0 where it is none.
func (p *Parser) unescape(raw []byte) (size int) {
	if len(raw) < 2 {
		return 0
	}
	if c := escapes[raw[1]]; c != 0 {
		p.text = append(p.text, c)
		return 2
	}
	r, ok := hex4(raw)
	if !ok {
		return 0
	}
	size = len(`\u0000`)
	if utf16.IsSurrogate(r) {
		low, _ := hex4(raw[size:])
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			size *= 2
		}
	}
	p.text = utf8.AppendRune(p.text, r)
	return size
}

// hex4 reads \uXXXX.
func hex4(raw []byte) (r rune, ok bool) {
	if len(raw) < 6 || binary.BigEndian.Uint16(raw) != '\\'<<8|'u' {
		return 0, false
	}
	for _, c := range raw[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
