package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/relay"
)

func at(seq int) relay.Position { return relay.Position{Epoch: 1, Seq: relay.Seq(seq)} }

// TestAcksKeepOrder: answers come in any order, and are printed in that of publishing up to the
// first refusal.
func TestAcksKeepOrder(t *testing.T) {
	var out strings.Builder
	ctx, stop := context.WithCancelCause(t.Context())
	a := newAcks(&out, nil, text, time.NewTimer(time.Hour), 0, stop)
	var k [6]*ack
	for i := range k {
		k[i] = a.expect(nil)
	}
	refused := errors.New("refused")
	for _, i := range []int{5, 1, 4} {
		a.answer(k[i], at(i), nil)
	}
	a.answer(k[2], relay.Position{}, refused)
	a.forget(k[3])
	a.answer(k[0], at(0), nil)
	n, err := a.close()
	if out.String() != "1:0\n1:1\n" || n != (counts{acknowledged: 4, refused: 1, beyond: 2}) {
		t.Errorf("%+v: %q", n, out.String())
	}
	if !errors.Is(err, refused) || err.Error() != "refused (2 messages after it were acknowledged)" {
		t.Errorf("error %v", err)
	}
	if ctx.Err() == nil {
		t.Error("publishing goes on after a refusal")
	}
}

// TestAcksUnknown: a message of unknown outcome has its line, those behind it go on, and what is
// given up is told from what is refused.
func TestAcksUnknown(t *testing.T) {
	var out strings.Builder
	ctx, stop := context.WithCancelCause(t.Context())
	file, err := openAckFile(filepath.Join(t.TempDir(), "acks"))
	if err != nil {
		t.Fatal(err)
	}
	a := newAcks(&out, file, text, time.NewTimer(time.Hour), 0, stop)
	var k [5]*ack
	for i := range k {
		k[i] = a.expect([]byte(fmt.Sprint("line ", i)))
	}
	unknown := fmt.Errorf("publish: %w", client.ErrUnknownOutcome)
	a.answer(k[0], at(1), nil)
	a.answer(k[1], relay.Position{}, unknown)
	a.answer(k[2], at(2), nil)
	a.leave()
	a.answer(k[3], relay.Position{}, fmt.Errorf("%w: %w", client.ErrClosed, unknown))
	a.answer(k[4], relay.Position{}, client.ErrClosed)
	n, err := a.close()
	if err != nil || ctx.Err() != nil {
		t.Errorf("errors %v, %v; nothing was refused", err, ctx.Err())
	}
	if want := "1:1\nunknown\n1:2\nunknown\n"; out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
	if want := "2 acknowledged, 0 refused, 2 unknown, 1 not sent"; n.String() != want {
		t.Errorf("%v; want %s", n, want)
	}
	got, err := os.ReadFile(file.f.Name())
	if want := "1:1\tline 0\n1:2\tline 2\n"; err != nil || string(got) != want {
		t.Errorf("the file has %q (%v), want %q", got, err, want)
	}
}

// TestAckFileFirst: what stdout shows stands in the file before.
func TestAckFileFirst(t *testing.T) {
	name := filepath.Join(t.TempDir(), "acks")
	file, err := openAckFile(name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	a := newAcks(writer(func(b []byte) (int, error) {
		if got, _ := os.ReadFile(name); strings.Count(string(got), "\n") < strings.Count(string(b), "\n") {
			t.Errorf("printed %q while the file has %q", b, got)
		}
		return len(b), nil
	}), file, jsonOut, time.NewTimer(time.Hour), 0, stop)
	a.answer(a.expect([]byte("x\xff")), at(1), nil)
	a.answer(a.expect([]byte("y")), at(2), nil)
	if n, err := a.close(); err != nil || ctx.Err() != nil || n.acknowledged != 2 {
		t.Errorf("%v, %v", n, err)
	}
	got, _ := os.ReadFile(name)
	if want := `{"epoch":1,"seq":1,"payload_base64":"eP8="}` + "\n" + `{"epoch":1,"seq":2,"payload":"y"}` + "\n"; string(got) != want {
		t.Errorf("the file has %q, want %q", got, want)
	}
}

// TestAckFileIsSyncedInAPause: what was acknowledged is durable within a second also where no more
// answers come, and then nothing is synced again.
func TestAckFileIsSyncedInAPause(t *testing.T) {
	file, err := openAckFile(filepath.Join(t.TempDir(), "acks"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		_, stop := context.WithCancelCause(t.Context())
		syncs := 0
		file.synced, file.sync = time.Now(), func() error { syncs++; return nil }
		a := newAcks(&strings.Builder{}, file, text, time.NewTimer(time.Hour), 0, stop)
		a.answer(a.expect([]byte("x")), at(1), nil)
		time.Sleep(syncEvery)
		synctest.Wait()
		if syncs != 1 {
			t.Errorf("%d syncs within %v of the only answer, want 1", syncs, syncEvery)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if syncs != 1 {
			t.Errorf("%d syncs of one line", syncs)
		}
		if _, err := a.close(); err != nil {
			t.Error(err)
		}
	})
}

// TestInterruptHidesNoError: what could not be written is told, also when an interrupt ended it.
func TestInterruptHidesNoError(t *testing.T) {
	full := errors.New("write acks: no space left on device")
	a := &app{err: &strings.Builder{}}
	for _, n := range []counts{{acknowledged: 1}, {acknowledged: 1, unknown: 1}} {
		if err := a.concluded(true, n, full, &pubOptions{}); err == nil || !strings.Contains(err.Error(), full.Error()) {
			t.Errorf("%v: it ended with %v", n, err)
		}
	}
	if err := a.concluded(true, counts{acknowledged: 1}, nil, &pubOptions{}); err != nil {
		t.Errorf("an interrupt alone: %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// TestAcksGiveUp: publishing ends when nothing was acknowledged for long, answers of other kinds
// notwithstanding, and not while there is nothing to wait for.
func TestAcksGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		a := newAcks(&strings.Builder{}, nil, text, time.NewTimer(time.Hour), time.Minute, stop)
		time.Sleep(time.Hour)
		k := a.expect(nil)
		time.Sleep(50 * time.Second)
		l := a.expect(nil)
		a.answer(k, at(1), nil)
		synctest.Wait()
		time.Sleep(50 * time.Second)
		m := a.expect(nil)
		a.answer(l, relay.Position{}, client.ErrUnknownOutcome)
		synctest.Wait()
		if ctx.Err() != nil {
			t.Fatalf("gave up early: %v", context.Cause(ctx))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if err := context.Cause(ctx); !errors.Is(err, errTired) || err.Error() != "gave up: nothing was acknowledged for 1m0s" {
			t.Errorf("a minute after the last acknowledgement: %v", err)
		}
		a.leave()
		a.answer(m, relay.Position{}, client.ErrClosed)
		a.close()
	})
}
