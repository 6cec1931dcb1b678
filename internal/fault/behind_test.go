package fault

import (
	"os"
	"testing"
	"time"
)

// TestCampaignFarBehind lets a node fall so far behind that the others' logs do not reach back to it, and
// cuts it off again and again while it gets a snapshot.
func TestCampaignFarBehind(t *testing.T) {
	if os.Getenv("MERIDIAN_SEED") == "" {
		t.Skip("hundreds of megabytes: make campaign NAME=FarBehind")
	}
	f := newFleet(t, 3)
	// What a log keeps for who lags is 64 MiB a shard; each message is 60 KiB.
	l := newLoad(t, f, "behind", loadConfig{channels: 8, publishers: 4, rate: 100, bytes: 60 << 10})
	l.healthy()
	x := f.follower(victim)
	f.net.Isolate(x.name, true)
	before := l.acknowledgements()
	const enough = 2 * shards * (64 << 20) / (60 << 10)
	for deadline := time.Now().Add(2 * time.Minute); l.acknowledgements() < before+enough; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d messages in two minutes", l.acknowledgements()-before, enough)
		}
	}
	for range 5 {
		f.net.Heal()
		time.Sleep(300 * time.Millisecond)
		f.net.Isolate(x.name, true)
		time.Sleep(500 * time.Millisecond)
	}
	f.heal()
	l.healthy()
	l.judge()
	got, resumed := f.metric(x, "peer_snapshot_bytes_total"), f.metric(x, "peer_snapshots_resumed_total")
	t.Logf("%.0f MB of snapshots came, resumed %.0f times", got/1e6, resumed)
	if got < 64<<20 {
		t.Errorf("%s took %.0f bytes of snapshots; it was to need one of more than a log keeps", x.name, got)
	}
}
