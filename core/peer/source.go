package peer

import (
	"context"
	"errors"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

func (p *Peers) serveSnapshot(ctx context.Context, from shard.Node, s relay.Session, stream relay.Stream, reader *frameReader) error {
	return errors.New("not yet")
}
