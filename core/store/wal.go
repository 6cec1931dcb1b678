package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-relay/meridian/internal/planted"
)

// Pebble tells a damaged record from a torn end by what later records say was synced when they
// were written. But it looks for those in later blocks only: damage in the last block, with
// synced records after it, would end the log silently, and with it votes and entries that were
// acknowledged. So Open looks for such records in the same block.
//
// Pebble notes a sync just after it told those who wait for it, so the record that is written next
// may not say so yet; the one after it does. Damage in the last record but one may so look like a
// torn end, as damage in the last one always does.
//
// A block has 32 KiB of chunks: checksum (4), length (2), kind (1; 9 to 12), number of the log
// (4), how much of it was synced (8), data. The checksum is of what follows the length, CRC-32C,
// rotated and offset.
const (
	walBlock     = 32 << 10
	walHeader    = 19
	walFirstKind = 9
	walLastKind  = 12
)

// checkWALs checks the files of the log's write-ahead log.
func (s *Store) checkWALs() error {
	dir := s.fs.PathJoin(s.cfg.Dir, logName)
	if _, err := s.fs.Stat(dir); err != nil || planted.On(planted.TruncateAtDamage) {
		return nil
	}
	names, err := s.fs.List(dir)
	if err != nil {
		return err
	}
	found := !s.id.Begun
	for _, name := range names {
		number, ok := strings.CutSuffix(name, ".log")
		n, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil {
			continue
		}
		found = true
		if err := s.checkWAL(s.fs.PathJoin(dir, name), uint32(n)); err != nil {
			return err
		}
	}
	if !found {
		// There always is one; Pebble goes on without, and has forgotten what only it had.
		return fmt.Errorf("%w: %s has no write-ahead log, NUMBER.log", ErrDamaged, dir)
	}
	return nil
}

func (s *Store) checkWAL(path string, number uint32) error {
	f, err := s.fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, walBlock)
	for offset := uint64(0); ; offset += walBlock {
		n, err := io.ReadFull(f, block)
		if err != nil && err != io.ErrUnexpectedEOF {
			if err == io.EOF {
				return nil
			}
			return err
		}
		end, lost := checkBlock(block[:n], offset, number)
		if lost {
			return fmt.Errorf("%w: record at %d of %s cannot be read, and was synced", ErrDamaged, offset+uint64(end), path)
		}
		// A block with room for one more chunk is the last one, or Pebble finds what is wrong.
		if n < walBlock || end+walHeader <= walBlock {
			return nil
		}
	}
}

// checkBlock returns where the readable chunks of a block end, and whether a later one says that
// what stood there was synced.
func checkBlock(block []byte, offset uint64, number uint32) (end int, lost bool) {
	for {
		size, _, ok := walChunk(block[end:], number)
		if !ok {
			break
		}
		end += size
	}
	var log [4]byte
	binary.LittleEndian.PutUint32(log[:], number)
	for at := end + 1; at+walHeader <= len(block); at++ {
		next := bytes.Index(block[at+7:], log[:])
		if next < 0 {
			return end, false
		}
		at += next
		if _, synced, ok := walChunk(block[at:], number); ok && synced > offset+uint64(end) {
			return end, true
		}
	}
	return end, false
}

// walChunk reads a chunk of a log.
func walChunk(b []byte, number uint32) (size int, synced uint64, ok bool) {
	if len(b) < walHeader || b[6] < walFirstKind || b[6] > walLastKind ||
		binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, 0, false
	}
	size = walHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, 0, false
	}
	sum := crc32.Checksum(b[6:size], crc32.MakeTable(crc32.Castagnoli))
	if sum = (sum>>15 | sum<<17) + 0xa282ead8; sum != binary.LittleEndian.Uint32(b) {
		return 0, 0, false
	}
	return size, binary.LittleEndian.Uint64(b[11:]), true
}
