package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const example = `
name: edge-1
region: eu-west
grace: 30s
tokens:
  audience: chat
  issuers:
    - issuer: https://auth.example.com
      jwks: https://user:secret@auth.example.com/keys
origins: [https://app.example.com, "https://b.example.com"]
limits:
  payload: 128KiB
  session: {bytes_per_second: 1000000}
namespaces:
  chat: {age: 24h, messages: 1000}
  state: {keyed: true, age: forever, bytes: 1GiB}
`

func TestLaterSourcesWin(t *testing.T) {
	path := write(t, example)
	e := DefaultEdge()
	set, err := Load(&e, Sources{
		File:    path,
		Environ: []string{"MERIDIAN_REGION=us-east", "MERIDIAN_GRACE=40s", "MERIDIAN_ORIGINS=https://c.example.com, https://d.example.com", "HOME=/x", "MERIDIAN_TOKEN=t"},
		Flags:   map[string]string{"grace": "50s", "namespaces.chat.bytes": "2GiB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "edge-1" || e.Region != "us-east" || e.Grace != 50*time.Second || e.Listen != "0.0.0.0:4433" {
		t.Errorf("values: %+v", e)
	}
	if !slices.Equal(e.Origins, []string{"https://c.example.com", "https://d.example.com"}) {
		t.Errorf("origins %q", e.Origins)
	}
	if e.Limits.Payload != 128<<10 || e.Limits.Session.BytesPerSecond != 1_000_000 || e.Limits.Session.Subscriptions != 1000 {
		t.Errorf("limits: %+v", e.Limits)
	}
	if got, want := e.Namespaces["chat"], (Namespace{Age: Age(24 * time.Hour), Messages: 1000, Bytes: 2 << 30}); !reflect.DeepEqual(got, want) {
		t.Errorf("chat: %+v, want %+v", got, want)
	}
	if len(e.Tokens.Issuers) != 1 || e.Tokens.Issuers[0].Issuer != "https://auth.example.com" {
		t.Errorf("issuers: %+v", e.Tokens.Issuers)
	}
	for key, want := range map[string]Line{
		"name":                   {Value: "edge-1", From: path},
		"region":                 {Value: "us-east", From: "environment MERIDIAN_REGION"},
		"grace":                  {Value: "50s", From: "flag"},
		"listen":                 {Value: "0.0.0.0:4433", From: "default"},
		"limits.payload":         {Value: "128KiB", From: path},
		"namespaces.chat.age":    {Value: "24h0m0s", From: path},
		"namespaces.state.age":   {Value: "forever", From: path},
		"namespaces.chat.bytes":  {Value: "2GiB", From: "flag"},
		"tokens.issuers[0].jwks": {Value: "https://(redacted)@auth.example.com/keys", From: path},
	} {
		i := slices.IndexFunc(set.Lines(), func(l Line) bool { return l.Key == key })
		if i < 0 {
			t.Errorf("%s: no line", key)
			continue
		}
		if want.Key = key; set.Lines()[i] != want {
			t.Errorf("line %+v, want %+v", set.Lines()[i], want)
		}
	}
}

func TestFaultsNameKeyValueAndRemedy(t *testing.T) {
	for name, tc := range map[string]struct {
		file  string
		env   []string
		flags map[string]string
		want  string
	}{
		"top":         {file: "regoin: eu", want: "regoin: no such setting; did you mean region? (from FILE)"},
		"nested":      {file: "limits: {paylod: 1}", want: "limits.paylod: no such setting; did you mean limits.payload? (from FILE)"},
		"map entry":   {file: "namespaces: {chat: {mesages: 1}}", want: "namespaces.chat.mesages: no such setting; did you mean namespaces.chat.messages? (from FILE)"},
		"list entry":  {file: "tokens: {issuers: [{iss: a}]}", want: "tokens.issuers[0].iss: no such setting; did you mean tokens.issuers[0].issuer? (from FILE)"},
		"far":         {file: "zzzzzzzzzzzz: 1", want: "zzzzzzzzzzzz: no such setting; known here: alternatives, grace,"},
		"environment": {env: []string{"MERIDIAN_REGOIN=eu"}, want: "environment MERIDIAN_REGOIN: no such setting; did you mean MERIDIAN_REGION?"},
		"flag":        {flags: map[string]string{"limits.sesions": "1"}, want: "limits.sesions: no such setting; did you mean limits.sessions? (from flag)"},
		"time":        {file: "grace: 10", want: `grace: "10" is not a time; write a number with its unit, such as 500ms, 10s or 24h (from FILE)`},
		"size":        {file: "limits: {payload: many}", want: `limits.payload: "many" is not a size; write bytes, or a whole number with KiB, MiB or GiB (from FILE)`},
		"number":      {env: []string{"MERIDIAN_LIMITS_SESSIONS=x"}, want: `limits.sessions: "x" is not a whole number (from environment MERIDIAN_LIMITS_SESSIONS)`},
		"truth":       {file: "namespaces: {a: {keyed: 3}}", want: `namespaces.a.keyed: "3" is neither true nor false`},
		"section":     {file: "limits: 3", want: `limits: a section is wanted here, not "3" (from FILE)`},
		"text":        {file: "name: {a: b}", want: "name: one text is wanted here, not a section (from FILE)"},
		"list":        {file: "origins: {a: b}", want: "origins: a list is wanted here, not a section"},
		"yaml":        {file: "a: [", want: "configuration file FILE: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := Sources{Environ: tc.env, Flags: tc.flags}
			if tc.file != "" {
				s.File = write(t, tc.file)
			}
			e := DefaultEdge()
			_, err := Load(&e, s)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.ReplaceAll(err.Error(), s.File, "FILE"); s.File == "" && !strings.HasPrefix(err.Error(), tc.want) || s.File != "" && !strings.HasPrefix(got, tc.want) {
				t.Errorf("error\n  %s\nwant\n  %s", got, tc.want)
			}
		})
	}
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	e := DefaultEdge()
	_, err := Load(&e, Sources{File: write(t, "regoin: eu\ngrace: soon\nlimits: {payload: x}\n")})
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("error %v, want three lines", err)
	}
}

func TestEnvironmentOfOthersIsLeftAlone(t *testing.T) {
	d := DefaultDev()
	_, err := Load(&d, Sources{Environ: []string{
		"MERIDIAN_REGION=eu", "MERIDIAN_TLS_CERT=x", // settings of serve edge
		"MERIDIAN_CONTEXT=dev", "MERIDIAN_URL=x", "MERIDIAN_CONFIG_DIR=/x", "MERIDIAN_SEED=1", // of commands and tests
		"MERIDIAN_SERVICE_HOST=10.0.0.1", "MERIDIAN_EDGE_PORT_443_TCP=tcp://x", "MERIDIAN_PORT=tcp://x", // Kubernetes'
	}})
	if err != nil {
		t.Error(err)
	}
}

func TestMissingFile(t *testing.T) {
	e := DefaultEdge()
	if _, err := Load(&e, Sources{File: "no-such.yaml"}); err == nil || err.Error() != "configuration file no-such.yaml does not exist" {
		t.Error(err)
	}
}

func TestBytes(t *testing.T) {
	for in, want := range map[string]Bytes{"0": 0, "17": 17, "64KiB": 64 << 10, "1 MiB": 1 << 20, "3GiB": 3 << 30, "5KB": 5000, "2B": 2} {
		if got, err := ParseBytes(in); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "KiB", "-2", "1.5MiB", "9999999999GiB", "1TiB"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("ParseBytes(%q) = %d, want an error", in, got)
		}
	}
	for _, b := range []Bytes{-1, 0, 1, 1000, 1 << 10, 3 << 20, 5 << 30, 1<<20 + 1} {
		if got, err := ParseBytes(b.String()); err != nil || got != b {
			t.Errorf("%d is written %q, which is read as %d (%v)", int64(b), b, got, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(example)
	f.Add("limits: [1]")
	f.Add("namespaces: {a: null}")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, content string) {
		e := DefaultEdge()
		if set, err := Load(&e, Sources{File: write(t, content)}); err == nil {
			set.Lines()
			e.Check()
		}
	})
}
