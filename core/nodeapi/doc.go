// Package nodeapi is how an operator asks a node about its shards and channels, and moves
// leaders and replicas: HTTP and JSON on the listener for operators, and the client of it.
//
//	GET  /v1/shards                 the node's replicas; ?after=s12&limit=100
//	GET  /v1/shards/{shard}         one of them
//	POST /v1/shards/{shard}/transfer   {"to": "node-2"}: hands leadership to that node
//	GET  /v1/channels               channels of the replicas here; ?prefix=demo:&after=demo:a&limit=100
//	GET  /v1/channels/{channel}     one of them
//	POST /v1/nodes/{node}/replace   {}: gives a node with a new disk its replicas back
//
// Lists come in order and in pages: limit is at most 1,000, and next, if it is there, is the
// after of the following page. Errors are problem documents (RFC 9457). Who asks under a name
// that is not this machine's is refused on loopback, and what changes something is taken on
// loopback only, as application/json, so that no page of a browser can send it.
package nodeapi
