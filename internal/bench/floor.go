package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

const (
	floorBlock   = 256 << 10
	floorRecords = 1024
)

// floor is the least that any receiver has to do: read blocks, split them, make records, hand them on (here: drop them).
// It has no positions, no checks, no discovery, and does not look at the text. It is used by one goroutine at a time.
type floor struct {
	// onResource puts the file's attribute on the resource and lets all bodies of a block share one string; otherwise every
	// record has the attribute and a string of its own.
	onResource bool

	block   []byte
	name    string
	logs    plog.Logs
	records plog.LogRecordSlice
	count   int64
}

func newFloor(onResource bool) *floor {
	return &floor{onResource: onResource, block: make([]byte, 0, 2*floorBlock)}
}

// floorProcess is a peer, or one of several processes that share its files: it says that it is ready, waits for a line, reads, says what it did,
// and waits for its end.
func floorProcess(args []string) error {
	usage := errors.New("usage: bench floor record|resource <folder> <part> <of>")
	if len(args) != 4 || (args[0] != "record" && args[0] != "resource") {
		return usage
	}
	part, err := strconv.Atoi(args[2])
	if err != nil {
		return usage
	}
	parts, err := strconv.Atoi(args[3])
	if err != nil || parts < 1 {
		return usage
	}
	f := newFloor(args[0] == "resource")
	input := bufio.NewReader(os.Stdin)
	fmt.Println("ready", mallocs())
	if _, err := input.ReadString('\n'); err != nil {
		return err
	}
	if err := f.readAll(args[1], part, parts); err != nil {
		return err
	}
	fmt.Println(f.count, mallocs())
	_, err = input.ReadString('\n')
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// readAll reads every file, or, of several floors that share them, one's part.
func (f *floor) readAll(dir string, part, parts int) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return err
	}
	for n := part; n < len(names); n += parts {
		if err := f.read(names[n]); err != nil {
			return err
		}
	}
	return nil
}

func (f *floor) read(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	f.name = filepath.Base(name)
	f.begin()
	rest := 0
	for {
		block := f.block[:rest+floorBlock]
		n, err := file.Read(block[rest:])
		if n == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		used := f.split(block[:rest+n])
		rest = copy(f.block[:cap(f.block)], block[used:rest+n])
	}
}

func (f *floor) split(block []byte) (used int) {
	end := bytes.LastIndexByte(block, '\n') + 1
	now := pcommon.NewTimestampFromTime(time.Now())
	if f.onResource {
		text := string(block[:end])
		for used < end {
			size := strings.IndexByte(text[used:], '\n')
			f.add(text[used:used+size], now)
			used += size + 1
		}
		return end
	}
	for used < end {
		size := bytes.IndexByte(block[used:end], '\n')
		record := f.add(string(block[used:used+size]), now)
		record.Attributes().PutStr("log.file.name", f.name)
		used += size + 1
	}
	return end
}

func (f *floor) add(body string, now pcommon.Timestamp) plog.LogRecord {
	if f.records.Len() == floorRecords {
		f.begin()
	}
	record := f.records.AppendEmpty()
	record.SetObservedTimestamp(now)
	record.Body().SetStr(body)
	f.count++
	return record
}

// begin drops the batch and begins another.
func (f *floor) begin() {
	f.logs = plog.NewLogs()
	rl := f.logs.ResourceLogs().AppendEmpty()
	if f.onResource {
		rl.Resource().Attributes().PutStr("log.file.name", f.name)
	}
	f.records = rl.ScopeLogs().AppendEmpty().LogRecords()
	f.records.EnsureCapacity(floorRecords)
}
