package fault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/internal/program"
	"github.com/meridian-relay/meridian/relay"
)

// TestLossIsSeen loses acknowledged messages in earnest, which nothing but the quorum protects from,
// and wants to hear of it: the other tests mean something only if this one is red for the checker.
func TestLossIsSeen(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	l := newLoad(t, f, "lost", loadConfig{})
	l.healthy()
	f.killAll()
	for _, x := range f.nodes {
		f.must(copyDir(x.data, x.data+".old"))
	}
	f.start()
	l.healthy()
	l.drain()
	f.killAll()
	// The third node stays away: it knows better, and would lead.
	few := f.nodes[:2]
	for _, x := range few {
		f.must(os.RemoveAll(x.data))
		f.must(os.Rename(x.data+".old", x.data))
	}
	errs := make(chan error)
	for _, x := range few {
		go func() { errs <- x.start() }()
	}
	for range few {
		f.must(<-errs)
	}
	clear(l.acked) // no replica has it
	l.replicas(few)
	l.broken(check.P1)
}

// TestCampaignPlanted runs processes that deliver what is not committed, and wants the checker to
// find that out.
func TestCampaignPlanted(t *testing.T) {
	if os.Getenv("MERIDIAN_SEED") == "" {
		t.Skip("it takes luck on a machine that does other things too: make campaign NAME=Planted")
	}
	planted := filepath.Join(t.TempDir(), "meridian")
	if err := program.Build(planted, "-tags", "planted"); err != nil {
		t.Fatal(err)
	}
	f := newFleetOf(t, 3, func(p *process) { p.binary, p.env = planted, []string{"PLANTED=deliver-uncommitted"} })
	l := newLoad(t, f, "planted", loadConfig{})
	l.healthy()
	x := f.linked(victim, l)
	f.among(x, func(other *node) { f.net.Cut(x.name, other.name, true) })
	time.Sleep(away)
	f.heal()
	l.healthy()
	l.close() // what has no answer now gets none
	l.broken(check.P1, check.P2, check.P3)
}

// broken wants the checker to find one of the promises broken.
func (l *load) broken(want ...check.Promise) {
	l.t.Helper()
	v := l.verdict()
	var text strings.Builder
	_ = v.Print(&text)
	for _, p := range want {
		if v.Counts.BrokenBy[p] > 0 {
			l.t.Logf("%d violations of %s, as it must be; the first: %s", v.Counts.BrokenBy[p], p, v.Violations[0].What)
			return
		}
	}
	l.t.Errorf("none of %v is found broken:\n%s", want, &text)
}

// verdict has the promises checked.
func (l *load) verdict() *check.Verdict {
	var logs []*check.Log
	for _, r := range l.logs {
		logs = append(logs, r.Log())
	}
	return check.Run(check.Config{
		Kept: []relay.Pattern{"*"}, Epochs: []relay.Pattern{"brief:*"},
	}, logs...)
}
