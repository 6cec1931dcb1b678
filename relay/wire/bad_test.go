package wire_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/meridian-relay/meridian/relay/wire"
)

// A badStream is bytes of a stream in testdata/bad.json that end a session.
type badStream struct {
	Name   string `json:"name"`
	Hex    string `json:"hex"`
	Frames int    `json:"frames"` // good ones before
	Error  string `json:"error"`
	Ends   string `json:"ends"` // the code that the session ends with
}

// A badBody is a body, or a datagram, that does not parse.
type badBody struct {
	Name  string `json:"name"`
	Of    string `json:"of"`
	Hex   string `json:"hex"`
	Error string `json:"error"`
}

type badInput struct {
	Streams []badStream `json:"streams"`
	Bodies  []badBody   `json:"bodies"`
}

func loadBad(t testing.TB) badInput {
	raw, err := os.ReadFile("testdata/bad.json")
	if err != nil {
		t.Fatal(err)
	}
	var bad badInput
	if err := json.Unmarshal(raw, &bad); err != nil {
		t.Fatal(err)
	}
	return bad
}

var errorNames = map[string]error{
	"malformed":      wire.ErrMalformed,
	"too_large":      wire.ErrTooLarge,
	"unsupported":    wire.ErrUnsupported,
	"unexpected_eof": io.ErrUnexpectedEOF,
}

func unhex(t testing.TB, name, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func TestBadStreams(t *testing.T) {
	for _, bad := range loadBad(t).Streams {
		in := unhex(t, bad.Name, bad.Hex)
		got := readAll(wire.NewReader(bytes.NewReader(in)))
		if len(got.frames) != bad.Frames || !errors.Is(got.err, errorNames[bad.Error]) {
			t.Errorf("%s: %d frames, then %v; want %d, then %s", bad.Name, len(got.frames), got.err, bad.Frames, bad.Error)
		}
		if bad.Ends != "protocol" && bad.Ends != bad.Error {
			t.Errorf("%s: ends with %q", bad.Name, bad.Ends)
		}
		slow := readAll(wire.NewReader(iotest.OneByteReader(bytes.NewReader(in))))
		if err := sameRead(got, slow); err != nil {
			t.Errorf("%s: a byte at a time: %v", bad.Name, err)
		}
	}
}

func scanBody(of string, in []byte) error {
	var err error
	switch of {
	case "position":
		_, _, _, err = wire.ScanPosition(in)
	case "datagram":
		_, _, _, _, err = wire.ScanDatagram(in)
	case "publish":
		_, err = wire.ScanPublish(in)
	case "credit":
		_, err = wire.ScanCredit(in)
	case "ok":
		_, _, err = wire.ScanOK(in)
	case "message":
		_, err = wire.CheckPublished(in)
	}
	return err
}

func TestBadBodies(t *testing.T) {
	for _, bad := range loadBad(t).Bodies {
		if err := scanBody(bad.Of, unhex(t, bad.Name, bad.Hex)); !errors.Is(err, errorNames[bad.Error]) {
			t.Errorf("%s: got %v, want %s", bad.Name, err, bad.Error)
		}
	}
}
