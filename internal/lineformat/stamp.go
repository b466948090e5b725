package lineformat

import (
	"encoding/binary"
	"time"
)

// stampMin is the length of the shortest stamp: without a fraction.
const stampMin = len("2006-01-02T15:04:05Z")

// secondSize is the length of what stands before the fraction of a second.
const secondSize = len("2006-01-02T15:04:05")

// Clock reads stamps, many of one second: it remembers the last one. The zero value is ready. It is used by one goroutine at a time.
type Clock struct {
	text [secondSize]byte
	unix int64
}

// Stamp reads an RFC 3339 time at the beginning of b, with any number of digits behind the second, of which nine count. It returns
// nanoseconds since the Unix epoch and the length of what it read, 0 where there is no time, or none between 1970 and 2261. It
// allocates nothing.
func (c *Clock) Stamp(b []byte) (stamp int64, size int) {
	if len(b) < stampMin || b[4] != '-' {
		return 0, 0
	}
	if second := [secondSize]byte(b); second != c.text {
		unix, ok := parseSecond(second)
		if !ok {
			return 0, 0
		}
		c.text, c.unix = second, unix
	}
	nanos, n := fraction(b[secondSize:])
	offset, m := zone(b[secondSize+n:])
	if m == 0 {
		return 0, 0
	}
	return (c.unix-int64(offset))*int64(time.Second) + nanos, secondSize + n + m
}

// parseSecond returns the seconds since the Unix epoch of a time in UTC.
func parseSecond(b [secondSize]byte) (unix int64, ok bool) {
	if b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	// One sum of what is no digit tells of all of them at once.
	var wrong byte
	two := func(i int) int {
		high, low := b[i]-'0', b[i+1]-'0'
		if high > 9 || low > 9 {
			wrong = 1
		}
		return int(high)*10 + int(low)
	}
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	if wrong != 0 || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	return int64(daysSinceEpoch(year, month, day))*86400 + int64(hour*3600+minute*60+second), true
}

// fraction reads the digits behind a point. A point without digits is none.
func fraction(b []byte) (nanos int64, size int) {
	if len(b) < 2 || b[0] != '.' || b[1]-'0' > 9 {
		return 0, 0
	}
	digits := 0
	size = 1
	if len(b) > 8 {
		if n, ok := eightDigits(b[1:9]); ok { // most stamps have nine
			nanos, digits, size = int64(n), 8, 9
		}
	}
	for ; size < len(b) && b[size]-'0' <= 9; size++ {
		if digits < 9 {
			nanos = nanos*10 + int64(b[size]-'0')
			digits++
		}
	}
	for ; digits < 9; digits++ {
		nanos *= 10
	}
	return nanos, size
}

// eightDigits reads eight digits at once, as the bytes of one word.
func eightDigits(b []byte) (n uint32, ok bool) {
	const threes, sixes, high = 0x3333333333333333, 0x0606060606060606, 0xf0f0f0f0f0f0f0f0
	word := binary.LittleEndian.Uint64(b)
	if word&high|(word+sixes)&high>>4 != threes { // no digit is below '0' or above '9'
		return 0, false
	}
	word = word&^high*10 + word&^high>>8                             // pairs
	word = word&0x00ff00ff00ff00ff*100 + word>>16&0x00ff00ff00ff00ff // of four
	return uint32(word&0x0000ffff*10000 + word>>32&0x0000ffff), true //nolint:gosec // below 100,000,000
}

// zone reads Z or an offset, and returns it in seconds with its length, 0 where there is none.
func zone(b []byte) (offset, size int) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, 1
	}
	if len(b) < 6 || (b[0] != '+' && b[0] != '-') || b[3] != ':' {
		return 0, 0
	}
	for _, i := range [...]int{1, 2, 4, 5} {
		if b[i]-'0' > 9 {
			return 0, 0
		}
	}
	hours, minutes := int(b[1]-'0')*10+int(b[2]-'0'), int(b[4]-'0')*10+int(b[5]-'0')
	if hours > 24 || minutes > 60 { // what time.Parse accepts
		return 0, 0
	}
	offset = hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, 6
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar; the year begins in March, so that leap days come last.
func daysSinceEpoch(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era, yearOfEra := year/400, year%400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}
