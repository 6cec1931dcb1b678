// Package channel is the deterministic state machine of channels: it orders, keeps, answers
// repetitions and reads, over an ordered key-value view that it is handed.
//
// It has no clock, no randomness and no I/O: time, limits and policies come in as commands of a
// Batch. What Open, Cursor.Read and Due say depends on the view (and the time they are given)
// alone. All state stands in the view, so a channel that rests costs nothing outside it.
//
// # Keys
//
// A key begins with a byte that says what stands there. Names end with a 0 where something
// follows; channels and namespaces contain none. Numbers are big-endian, so that keys sort by
// them; a position is epoch (8 bytes) and seq (8 bytes).
//
//	01                                  the shard: time, floor, broken, bytes of producers, limits
//	02 namespace                        its policy
//	03 namespace                        which slots this shard owns: 512 bytes of bits, and how
//	                                    many channels have a record under 06, unless none
//	04 namespace 0 slot(2)              the shard that owns a slot instead
//	05 namespace                        a policy changed: the next channel to hold to it
//	06 channel                          who owns the channel, whoever owns its slot
//	10 channel                          its head
//	11 channel 0 position               a message
//	12 channel 0 position               this message is the newest of its key
//	13 channel 0 key                    the position of a key's newest message
//	14 channel 0 producer(16) subject   a subject's producer, with its last numbers, up to sixteen
//	15 channel 0 producer(16) chunk(8) subject
//	                                    sixteen earlier numbers: 16 chunk + 1 and on
//	20 subject                          bytes of its producers
//	21 time(8) channel                  Due has to look at the channel then
//	22 time(8) channel 0 producer(16) subject
//	                                    Expire has to look at the producer then
//
// # Values
//
// A value begins with its version, 1. Unless said otherwise, varints follow; times and
// durations are in ms, times since 1970; a position is two varints; a string has its length
// before it.
//
//	01  time, floor, broken, bytes, limits: subject, channel, shard
//	02  age (0: no bound), count, bytes, keyed (0 or 1), payload, forget after
//	03  bit s%8 of byte s/8 is slot s; then the number of pins
//	04  the shard's name, to the end
//	05  the channel's name, to the end
//	06  0 or 1: this shard; then the other shard's name, to the end
//	10  last, first, cut, clean, newest without key: positions; count, bytes, used, due,
//	    bytes of producers; number of closed epochs, and of each: epoch, last seq
//	11  a wire.Message, as it is delivered
//	12  nothing
//	13  position
//	14  epoch, last number, used, time in 22, numbers
//	15  numbers
//	20  bytes
//	21  nothing
//	22  nothing
//
// Numbers are 16 bytes each: seq (8 bytes, big-endian; 0: used up without a message) and the
// xxhash64 of the body (8 bytes, big-endian).
//
// # Epochs
//
// A new epoch is the floor plus one. Forgetting a channel raises the floor to its epoch, so that
// a channel of the same name never repeats a position. Raise with broken closes the epochs of
// all channels at once: each begins a new one with its next publish, and readers learn it at
// once, by a Gap. A reader that stands where the channel does not exist yet may get a Gap for a
// floor that rose meanwhile, because it cannot be told that nothing came and went; Cursor.Born
// spares it that where it is known.
package channel
