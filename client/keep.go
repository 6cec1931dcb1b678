package client

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
)

// dialed takes the result of an attempt.
func (k *keeper) dialed(d *dialling, conn *conn, err error) {
	k.dialing = nil
	if err != nil {
		if !d.suspect || k.cur == nil {
			k.failed(err)
		}
		return
	}
	old, now := k.cur, time.Now()
	k.cur, k.reason, k.ever = conn, nil, true
	k.alternatives = nil
	k.dialAt, k.suspectAt, k.suspendAt, k.downSince = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	k.pingAt = now.Add(pingEvery)
	k.pinging = false
	k.renewAt = k.c.tokens.accepted(tokenLife(conn.session.Welcome()))
	if k.c.tokens.source == nil {
		k.renewAt = time.Time{}
	}
	state := connectedState(conn)
	k.c.cfg.Log.Info("connected", slog.String("edge", state.Edge), slog.String("carrier", string(conn.carrier)))
	k.c.setConn(conn)
	k.c.setState(state)
	if old != nil {
		old.leave(leaveWithin)
	}
	if conn.asked != nil {
		k.goAway(conn, *conn.asked)
	}
}

// lost takes the end of the session in use.
func (k *keeper) lost(err error) {
	now := time.Now()
	if now.Sub(k.cur.since) >= stableAfter {
		k.failures = 0
	}
	k.cur = nil
	if end, ok := codeOf(err); ok && end.Code.Retry() == relay.AfterToken {
		k.c.tokens.expire()
		err = fmt.Errorf("the session ended: %s: %s", end.Code, end.Detail) // no refusal of what comes next
	}
	k.pingAt, k.suspectAt, k.renewAt = time.Time{}, time.Time{}, time.Time{}
	k.downSince, k.suspendAt = now, now.Add(suspendedAfter)
	k.c.setConn(nil)
	if k.dialing != nil {
		k.dialing.suspect = false // it is needed now
		k.reason = err
		k.report()
		return
	}
	k.failed(err)
}

// failed takes a failed attempt or a lost session, and decides what next.
func (k *keeper) failed(err error) {
	k.reason = err
	now := time.Now()
	end, coded := codeOf(err)
	switch {
	case coded && end.Code.Retry() == relay.AfterToken:
		if !k.c.tokens.reject() {
			k.c.fail(err)
			return
		}
		k.dialAt = now
	case k.cur == nil && coded && isFinal(end.Code), !k.ever && isUntrusted(err):
		k.c.fail(err)
		return
	default:
		k.failures++
		wait := fullJitter(k.c.cfg.BackoffLeast, k.c.cfg.BackoffMost, k.failures, jitter())
		k.dialAt = now.Add(max(wait, end.RetryAfter))
	}
	k.c.cfg.Log.Info("not connected", slog.Any("reason", err), slog.Duration("retry_after", time.Until(k.dialAt)))
	if k.cur == nil {
		k.report()
	}
}

// report publishes the state while no session stands.
func (k *keeper) report() {
	s := State{Phase: Connecting, Reason: k.reason}
	if k.ever {
		s.Phase = Reconnecting
	}
	if time.Since(k.downSince) >= suspendedAfter {
		s.Phase = Suspended
	}
	k.c.setState(s)
}

// isFinal reports whether a session that was refused or ended so will be refused again.
func isFinal(c relay.Code) bool {
	switch c {
	case relay.Done, relay.Cancelled, relay.Protocol, relay.TooLarge:
		return false // of that session
	}
	return c.Retry() == relay.Final
}

// goAway begins the move to another session; the one in use serves until then.
func (k *keeper) goAway(conn *conn, g link.GoAway) {
	if conn == nil {
		return
	}
	if conn != k.cur {
		conn.asked = &g // its dial may be about to return
		return
	}
	k.c.cfg.Log.Info("asked to move", slog.String("reason", g.Reason.String()), slog.Duration("deadline", g.Deadline))
	k.alternatives = usable(k.c.url, g.Alternatives)
	if k.dialing != nil {
		k.dialing.suspect = false
		return
	}
	k.dialAt = time.Now()
	if k.dialAt.Sub(conn.since) >= stableAfter {
		k.failures = 0
		return
	}
	k.failures++ // a relay that sends everybody away at once is not asked again at once
	if k.failures > 1 {
		k.dialAt = k.dialAt.Add(fullJitter(k.c.cfg.BackoffLeast, k.c.cfg.BackoffMost, k.failures, jitter()))
	}
}

// ping looks whether the session in use still lives.
func (k *keeper) ping(ctx context.Context, now time.Time) {
	conn := k.cur
	k.pinging = true
	// A path that is known to be slow gets longer than is good for the rest.
	k.suspectAt = now.Add(max(suspectLeast, min(4*k.rtt, suspectMost), 2*k.rtt))
	timeout := max(pingTimeout, 3*k.rtt)
	k.c.wg.Go(func() {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoPong)
		defer cancel()
		rtt, err := conn.session.Ping(ctx)
		k.post(func() { k.ponged(conn, rtt, err) })
	})
}

func (k *keeper) ponged(conn *conn, rtt time.Duration, err error) {
	if conn != k.cur {
		return // replaced meanwhile
	}
	k.pinging, k.suspectAt = false, time.Time{}
	if err != nil {
		conn.session.Close(relay.LinkLost, errNoPong.Error())
		k.lost(err)
		return
	}
	if k.rtt == 0 {
		k.rtt = rtt
	}
	k.rtt += (rtt - k.rtt) / 8 // as TCP smooths it (RFC 6298, section 2)
	if k.dialing != nil && k.dialing.suspect {
		k.dialing.cancel()
	}
}

// refresh replaces the token in use before it ends.
func (k *keeper) refresh(ctx context.Context) {
	conn := k.cur
	k.refreshing = true
	k.c.wg.Go(func() {
		var expiresIn time.Duration
		token, err := k.c.tokens.fetch(ctx)
		if err == nil {
			ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
			defer cancel()
			expiresIn, err = conn.session.Refresh(ctx, token)
		}
		k.post(func() { k.refreshed(conn, expiresIn, err) })
	})
}

func (k *keeper) refreshed(conn *conn, expiresIn time.Duration, err error) {
	k.refreshing = false
	if conn != k.cur || conn.session.Err() != nil {
		return // a successor presents the newest token
	}
	if err == nil {
		k.refreshFails = 0
		k.renewAt = k.c.tokens.accepted(expiresIn)
		return
	}
	k.c.cfg.Log.Warn("token not refreshed", slog.Any("reason", err))
	if end, ok := codeOf(err); ok && end.Code.Retry() == relay.AfterToken && !k.c.tokens.reject() {
		k.c.fail(err)
		return
	}
	k.refreshFails++
	k.renewAt = time.Now().Add(fullJitter(time.Second, 30*time.Second, k.refreshFails, jitter()))
}
