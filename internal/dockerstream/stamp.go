package dockerstream

import "time"

// stampMax is the longest stamp: nine digits and a zone offset, as Podman writes it. Docker's has always 30 bytes, in UTC.
const stampMax = len("2006-01-02T15:04:05.000000000+07:00")

// stampMin is the shortest: without a fraction.
const stampMin = len("2006-01-02T15:04:05Z")

// cutStamp splits the stamp and the blank behind it off the front of a piece.
func cutStamp(piece []byte) (stamp int64, text []byte, ok bool) {
	stamp, n := parseStamp(piece)
	if n == 0 || n >= len(piece) || piece[n] != ' ' {
		return 0, nil, false
	}
	return stamp, piece[n+1:], true
}

// parseStamp reads an RFC 3339 time and returns it as nanoseconds since the Unix epoch, with its length; 0 where there is none. It is
// what time.Parse does, without the allocations, for years that fit.
func parseStamp(b []byte) (stamp int64, n int) {
	if len(b) < stampMin || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, 0
	}
	year, ok1 := number(b[0:4])
	month, ok2 := number(b[5:7])
	day, ok3 := number(b[8:10])
	hour, ok4 := number(b[11:13])
	minute, ok5 := number(b[14:16])
	second, ok6 := number(b[17:19])
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 23 || minute > 59 || second > 59 {
		return 0, 0
	}
	nanos, n := fraction(b[19:])
	n += 19
	offset, size := zone(b[n:])
	if size == 0 {
		return 0, 0
	}
	seconds := int64(daysSinceEpoch(year, month, day))*86400 + int64(hour*3600+minute*60+second-offset)
	return seconds*int64(time.Second) + nanos, n + size
}

func number(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// fraction reads up to nine digits behind a point.
func fraction(b []byte) (nanos int64, n int) {
	if len(b) == 0 || b[0] != '.' {
		return 0, 0
	}
	n = 1
	for n < len(b) && n <= 9 && b[n] >= '0' && b[n] <= '9' {
		nanos = nanos*10 + int64(b[n]-'0')
		n++
	}
	for i := n; i <= 9; i++ {
		nanos *= 10
	}
	return nanos, n
}

// zone reads Z or an offset and returns it in seconds, with its length; 0 where there is none.
func zone(b []byte) (offset, n int) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, 1
	}
	if len(b) < 6 || (b[0] != '+' && b[0] != '-') || b[3] != ':' {
		return 0, 0
	}
	hours, ok1 := number(b[1:3])
	minutes, ok2 := number(b[4:6])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, 0
	}
	offset = hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, 6
}

// daysSinceEpoch counts the days from 1970-01-01 in the Gregorian calendar; the year begins in March, so that leap days come last.
func daysSinceEpoch(year, month, day int) int {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year % 400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return era*146097 + dayOfEra - 719468
}
