package core

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// Publishes that are repeated while a fleet begins do not come before what its first leader says:
// the epochs of an earlier fleet in this place would be given once more.
func TestNoPublishPrecedesTheFirstLeadersWord(t *testing.T) {
	begin := time.Now()
	n, err := NewNode(single(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	late := begin.Add(20 * time.Second)
	var publishers sync.WaitGroup
	for i := range 16 {
		publishers.Go(func() {
			ch := relay.Channel(fmt.Sprintf("%s:first%d", relaytest.Plain, i))
			for time.Now().Before(late) {
				ends := make(chan relay.End, 1)
				var at relay.Position
				if err := n.Local().Publish(numbered(ch, 1), func(p relay.Position, end relay.End) { at = p; ends <- end }); err != nil {
					continue
				}
				if end := <-ends; end.Code != relay.Done {
					continue
				}
				if at.Epoch < relay.Epoch(begin.UnixMilli()) {
					t.Errorf("%s begins at %v, and the clock says %d", ch, at, begin.UnixMilli())
				}
				return
			}
			t.Errorf("%s: nothing was taken", ch)
		})
	}
	publishers.Wait()
	stop()
	group.Wait()
}
