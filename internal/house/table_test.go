package house

// A room is a package, or with /... a tree of packages, and what it may import of ours. Test
// files are free: a test may bring a real home, a real carrier, whatever it needs.
type room struct {
	path string
	may  []string // ours, beside the rooms of its own tree; paths may end in /...
	why  string   // what the limit protects
}

// rooms is the import table. The most specific row counts. A package in no row fails the test:
// whoever adds one says here what it may know.
var rooms = []room{
	{"relay/wire", nil,
		"a client in another program takes the frames without anything else"},
	{"relay", []string{"relay/wire"},
		"the vocabulary must not know who speaks it"},
	{"relay/hub", []string{"relay", "relay/wire"},
		"the hub never learns which process it runs in"},
	{"relay/link", []string{"relay", "relay/wire"},
		"a link runs over any carrier, so it knows none"},
	{"relay/relaytest", []string{"relay", "relay/wire"},
		"every Upstream passes this suite, so it depends on none"},
	{"client", []string{"relay/...", "internal/transport"},
		"who embeds the SDK must not get a server"},
	{"client/js", nil,
		"the pages that a binary serves know no relay; who serves them says where it is"},
	{"edge", []string{"relay/...", "internal/..."},
		"an edge runs without placement and without a home"},
	{"core", []string{"relay/...", "core/...", "placement", "internal/..."},
		"a node shows itself through the seam, never through an edge"},
	{"core/channel", []string{"relay", "relay/wire", "internal/planted"},
		"the state machine is pure: the same under Raft, under ephemeral and bare"},
	{"core/memview", []string{"core/channel"},
		"a view in memory, for a home that is not on disk"},
	{"core/shard", []string{"relay", "relay/wire", "core/channel", "internal/planted"},
		"a group does no I/O: the simulation runs what a node runs"},
	{"core/shard/shardtest", []string{"relay", "relay/wire", "core/shard", "core/channel", "core/memview", "internal/planted"},
		"a store in memory, and what every store has to pass"},
	{"core/store", []string{"core/shard", "core/channel", "internal/planted"},
		"the store keeps what it is handed; what it means is the shard's affair"},
	{"core/store/storetest", []string{"core/store"},
		"a disk for tests of those who stand on a store"},
	{"core/nodeapi", []string{"relay", "core/shard", "internal/web"},
		"commands take its client without taking a node"},
	{"core/nodeapi/nodeapitest", []string{"relay", "core/shard", "core/nodeapi"},
		"a node that is told what to answer, for tests of those who ask"},
	{"core/peer", []string{"relay", "core/shard", "internal/transport", "internal/pki"},
		"the way between nodes knows neither channels nor disks"},
	{"internal/planted", nil,
		"bugs for the simulation to find; nothing in a build without the tag"},
	{"internal/transport", []string{"relay"},
		"carriers move bytes; what these mean is the link's affair"},
	{"internal/token", []string{"relay"},
		"a token becomes a grant, whoever asks"},
	{"internal/pki", nil,
		"names and certificates stand alone: any authority may take the place of ours"},
	{"internal/config", nil,
		"configuration is read by main alone; packages take their Config structs"},
	{"internal/wan", nil,
		"the network between processes knows nothing of what it carries"},
	{"internal/web", nil,
		"how a server answers and whom it refuses does not depend on what it serves"},
	{"internal/ops", []string{"internal/web"},
		"who operates a process finds the same everywhere; what it means is the process's affair"},
	{"internal/stack", nil,
		"parts start and stop in the same way, whatever they are"},
	{"internal/campaign", nil,
		"every test of chance is told the same way what to do"},
	{"internal/program", nil,
		"who runs the built binary from outside needs nothing of what is inside"},
	{"internal/house", nil, "it reads, it does not use"},
	{"internal/check", []string{"relay"},
		"the checker must not share code with what it judges"},
	{"internal/bench/baseline", nil,
		"a baseline stands for its library alone"},
	{"internal/bench/...", []string{"relay/...", "client", "edge", "core/...", "placement/...", "internal/..."},
		"a benchmark is no command"},
	{"internal/e2e", []string{"relay/...", "client", "internal/..."},
		"it drives the built binary from outside"},
	{"internal/fault", nil,
		"it hurts the built binary from outside; only its tests know anything"},
	{"internal/stage", []string{"relay/...", "core/...", "internal/program", "internal/token", "internal/transport", "internal/wan"},
		"its edges are the built binary, so that what is tested is what runs"},
	{"internal/fleet", []string{"relay/...", "client", "edge", "core/...", "placement/...", "internal/..."},
		"a world is no command"},
	{"cmd/meridian/...", []string{"..."}, "main wires everything"},
}

// A heavy thing is a dependency with owners: only they import it, in tests too.
type heavy struct {
	path   string // import path prefix
	owners []string
	why    string
}

// heavies holds every module beyond the standard library. One that is in no row fails the test.
var heavies = []heavy{
	{"github.com/quic-go/", []string{"internal/transport", "internal/bench/..."},
		"the QUIC stack stays replaceable behind relay.Session; the baseline measures it bare"},
	{"github.com/coder/websocket", []string{"internal/transport", "internal/e2e"},
		"a carrier like any other; the browser test speaks DevTools over it"},
	{"github.com/prometheus/", []string{"edge", "core"},
		"packages count in plain structs; who serves /metrics turns these into metrics"},
	{"github.com/golang-jwt/", []string{"internal/token"},
		"one place decides what a valid token is"},
	{"github.com/spf13/", []string{"cmd/meridian/...", "internal/config"},
		"flags are for commands; packages take Config structs"},
	{"github.com/knadh/koanf", []string{"internal/config"},
		"one place decides which setting wins"},
	{"go.yaml.in/yaml", []string{"internal/config"},
		"one place reads configuration files"},
	{"github.com/HdrHistogram/", []string{"internal/bench/..."},
		"for measurements, not for servers"},
	{"github.com/tidwall/btree", []string{"core/memview"},
		"the in-memory view of a home"},
	{"go.etcd.io/raft", []string{"core/shard", "core/shard/...", "core/store", "core/peer"},
		"who is not a replica, its log or its wire needs no raft"},
	{"github.com/cockroachdb/pebble", []string{"core/store", "core/store/storetest", "internal/bench/..."},
		"one place knows the disk; the baseline measures it bare"},
	{"github.com/cespare/xxhash", []string{"relay", "relay/...", "core/..."},
		"slots and the choice of a link are fixed by it; everyone else asks relay"},
	{"google.golang.org/protobuf", []string{"relay/wire", "relay/...", "client", "core/...", "edge", "internal/bench/...", "internal/stage", "internal/fault"},
		"bodies are protobuf on the wire; carriers, tokens and commands never see them"},
	{"golang.org/x/", []string{"..."}, "the Go project's own"},
}

// A far ban is about everything that a package reaches, not only what it names.
var bans = []struct {
	from, to string
	why      string
}{
	{"relay/...", "github.com/quic-go/", "a link must run over a fake session"},
	{"relay/...", "github.com/prometheus/", "who embeds the seam must not get a metrics registry"},
	{"client", "github.com/prometheus/", "who embeds the SDK must not get a metrics registry"},
	{"client", "github.com/golang-jwt/", "the SDK carries tokens, it does not judge them"},
	{"client", "github.com/spf13/", "the SDK is no command"},
	{"edge", "github.com/meridian-relay/meridian/core", "an edge has no home; edge and core meet only in main"},
	{"edge", "github.com/meridian-relay/meridian/placement", "an edge gets its topology as a channel"},
	{"edge", "go.etcd.io/", "nothing on the message path reads etcd"},
	{"core", "github.com/meridian-relay/meridian/edge", "a node serves edges, it is none"},
	{"core/channel", "net/http", "the state machine does no I/O"},
}
