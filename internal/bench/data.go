package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Formats of a line.
const (
	formatRaw    = ""
	formatCRI    = "cri"
	formatDocker = "docker"
	formatJSON   = "cri+json" // the text is a JSON object, whose members become attributes
)

// data is what a shape reads: lines of text in files.
type data struct {
	format string
	files  int
	line   int // bytes of text per line, the line feed of a raw line included
	mark   int // every mark-th line begins with "KEEP", 0: none
	lines  int64
	bytes  int64 // on disk
}

// write makes the files in dir, size bytes of text in all. Each line is different from all others.
func (d *data) write(dir string, size int64) error {
	perFile := max(1, size/int64(d.files)/int64(d.line))
	d.lines, d.bytes = 0, 0
	for file := range d.files {
		if err := d.writeFile(filepath.Join(dir, d.fileName(file)), file, perFile); err != nil {
			return err
		}
	}
	return nil
}

// fileName is the name as the format has it.
func (d *data) fileName(file int) string {
	if d.format == formatRaw {
		return fmt.Sprintf("app-%05d.log", file)
	}
	return strconv.Itoa(file) + ".log"
}

// folder is where the format has its files: those of containers are where Kubernetes has them, with either runtime.
func (d *data) folder() string {
	if d.format == formatRaw {
		return "logs"
	}
	return "pods/shop_web-6d5f_0a1b2c3d-0000-4000-8000-1234567890ab/web"
}

func (d *data) writeFile(name string, file int, lines int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for n := range lines {
		line = d.append(line[:0], file, n)
		d.bytes += int64(len(line))
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	d.lines += lines
	return w.Flush()
}

// append adds one line. Every 8th has quotes, which docker's format and JSON have to escape.
func (d *data) append(p []byte, file int, n int64) []byte {
	text := d.text(file, n)
	stamp := fmt.Sprintf("2026-01-02T%02d:%02d:%02d.%09dZ", n/3_600_000%24, n/60_000%60, n/1000%60, n%1000*1_000_003)
	switch d.format {
	case formatCRI, formatJSON:
		p = append(p, stamp...)
		p = append(p, " stdout F "...)
		p = append(p, text...)
	case formatDocker:
		p = append(p, `{"log":"`...)
		p = append(p, strings.ReplaceAll(text, `"`, `\"`)...)
		p = append(p, `\n","stream":"stdout","time":"`...)
		p = append(p, stamp...)
		p = append(p, `"}`...)
	default:
		p = append(p, text[:len(text)-1]...)
	}
	return append(p, '\n')
}

const filler = "upstream=10.4.17.9:8443 method=GET path=/api/v2/orders/7f3a1c status=200 bytes=18412 duration=0.0341 " +
	"agent=curl/8.5.0 tenant=acme-europe-west trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7 cache=miss "

func (d *data) text(file int, n int64) string {
	word := "INFO"
	if d.mark > 0 && n%int64(d.mark) == 0 {
		word = "KEEP"
	}
	id := fmt.Sprintf("%s request %05d/%012d ", word, file, n)
	quoted := `msg="order created" `
	if d.format == formatJSON {
		id = fmt.Sprintf(`{"level":%q,"request":"%05d/%012d","status":200,"duration":0.0341,"msg":"`, word, file, n)
		quoted = `\"order created\" `
	}
	if n%8 == 0 {
		id += quoted
	}
	text := id + strings.Repeat(filler, d.line/len(filler)+1)
	if d.format == formatJSON {
		const end = `"}`
		return text[:d.line-len(end)] + end
	}
	return text[:d.line]
}

// link makes the prewritten files appear where the receivers look, all at once.
func (d *data) link(from, to string) error {
	for file := range d.files {
		name := d.fileName(file)
		if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}
