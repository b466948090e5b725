package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

const headerSize = 1 + crc32.Size

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("checksum or length is wrong")

// seal frames a payload for storage.
func seal(format byte, payload []byte) []byte {
	value := make([]byte, headerSize, headerSize+len(payload))
	value[0] = format
	value = append(value, payload...)
	binary.LittleEndian.PutUint32(value[1:], sum(value))
	return value
}

// open returns the payload of a stored value, which shares its memory.
func open(format byte, value []byte) ([]byte, error) {
	if len(value) < headerSize || binary.LittleEndian.Uint32(value[1:]) != sum(value) {
		return nil, errDamaged
	}
	if value[0] != format {
		return nil, fmt.Errorf("format %d, this version reads %d", value[0], format)
	}
	return value[headerSize:], nil
}

// sum covers the format byte and the payload, not the place of the sum itself.
func sum(value []byte) uint32 {
	return crc32.Update(crc32.Checksum(value[:1], castagnoli), castagnoli, value[headerSize:])
}
