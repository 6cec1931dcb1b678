// Package peer owns the way between nodes: raft messages, signs of life, and snapshots.
//
// # Connections
//
// A node dials every other one, and what it has to say goes on the connection that it dialled: two
// nodes have two connections, one each way. Protocol "meridian-peer/1" over QUIC with mutual TLS,
// on the socket that serves links too. The dialler opens a bidirectional stream:
//
//	dialler  Hello, then Message and Beat, or Unwell and Beat: what is urgent
//	other    Welcome or Refuse, then an Echo for every Beat
//
// and for bulk a unidirectional one with Messages. A fetch of a snapshot has a connection of its
// own, with one bidirectional stream:
//
//	dialler  Hello, Ask, then Keep or Need for every Offer; Done, or Fail, ends it
//	other    Welcome or Refuse, then Offer and Data in the order of keys; End after Done, or Fail
//
// # Frames
//
//	type varint | length varint | body (length bytes)
//
// with varints as in encoding/binary, and types as in relay/wire: who does not know an odd one
// skips it, an even one ends the connection. A string is its length and its bytes. Whoever reads
// ignores what stands behind the fields it knows in Hello, Welcome and Refuse.
//
//	02 Hello    lowest version | highest | purpose (1 raft, 2 snapshot) | fleet string |
//	            node string | the node dialled, string | store (16 bytes) | shard version |
//	            count | count × (shard | incarnation) | digest of the plan, string, or nothing
//	04 Welcome  version | store (16 bytes) | shard version | count | count × (shard | incarnation)
//	06 Refuse   reason | text string
//	08 Message  shard | from | to | incarnation | flags (1 rest, 2 gone, 4 store) | keep | store, 16 bytes | raft's, protobuf
//	0a Beat     number | shard version
//	0b Unwell
//	0c Echo     number | shard version
//	20 Ask      shard | to | snapshot | index | term | key string
//	22 Offer    from string | to string | sum (8 bytes, little-endian) | bytes
//	24 Keep
//	26 Need
//	28 Data     from string | to string | sum (8 bytes, little-endian) | count |
//	            count × (key string | value string)
//	2a Done
//	2c Fail     reason | text string
//	2e End
//
// Numbers are varints. In Ask, to is the member that asks, the place is the state's, and the key is
// where to begin. An empty to of a chunk ends the state.
//
// # Life
//
// A node is heard of when a frame comes from it on either connection, and lost after a second
// without. A connection without a Beat or an Echo for two seconds is closed, and its dialler dials
// again; so a way that works in one direction only is none. Unwell before a Beat says that the node
// should not lead for now; what an Unwell's body has is ignored.
package peer
