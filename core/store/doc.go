// Package store keeps the logs and states of a node's replicas in Pebble.
//
// # Folder
//
//	IDENTITY   what the folder is: format, fleet, node, store id, and, once both databases
//	           were made, begun: from then on one that is missing is damage
//	LOCK       held by the process that uses the folder
//	BALLAST    room for trimming and membership when the disk is full
//	log/       a Pebble database: raft logs and hard states, synced
//	state/     a Pebble database: applied states, without a write-ahead log
//	staging/   sorted tables of states that are being fetched from peers
//
// # Keys
//
// Numbers are big-endian, so that keys sort as numbers do. A replica is 16 bytes: shard, number.
//
//	log:    replica 01          it exists                      version
//	        replica 02          hard state                     version, term, vote, commit
//	        replica 03          the entry before the first     version, index, term
//	        replica 04 key      its first state, until the     what stands at key
//	                            log moves on
//	        replica 05 index    an entry                       version, term, type, data
//	        replica 06          it was removed, for ever       version
//	state:  replica key         what core/shard wrote there
//
// Values of the log begin with their version, 1; numbers in them are varints. They have no
// checksums of their own: Pebble checks every block of a table, every record of its log and
// every value that stands apart when it reads them.
//
// # What is durable when
//
// A Write with Sync is done when Pebble's log is synced; one sync covers what was submitted while
// the one before ran. A state is durable when its memtable is flushed. A first state stands in
// the log too, and removing is noted there first, so that Open finishes what a crash cut short.
// A staged state is synced and taken in before the log is set to its place; Open sets the log if
// a crash came between.
package store
