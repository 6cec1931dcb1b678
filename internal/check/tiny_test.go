package check

import (
	"strconv"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// A tiny log: without times and clock, every line a nanosecond after the one before.
func tiny(t *testing.T, lines string) *Log {
	t.Helper()
	for strings.Contains(lines, "\n\n") {
		lines = strings.ReplaceAll(lines, "\n\n", "\n")
	}
	l, err := Read("tiny", strings.NewReader(`{"kind":"log","v":1,"name":"tiny","clock":"c"}`+"\n"+strings.TrimSpace(lines)+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range l.lines {
		l.lines[i].t = int64(i + 1)
	}
	return l
}

// Lines that most tiny logs begin with: a and b are acknowledged at 1:1 and 1:2.
const two = `
{"kind":"publish","op":1,"channel":"d:x","producer":"p","n":1,"digest":"000000000000000a"}
{"kind":"answer","op":1,"code":"done","at":"1:1"}
{"kind":"publish","op":2,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000b"}
{"kind":"answer","op":2,"code":"done","at":"1:2"}
`

const whole = `
{"kind":"replica","sub":90,"channel":"d:x","replica":"r1"}
{"kind":"ok","sub":90,"at":"1:0","head":"1:2"}
{"kind":"message","sub":90,"at":"1:1","digest":"000000000000000a"}
{"kind":"message","sub":90,"at":"1:2","digest":"000000000000000b"}
{"kind":"end","sub":90,"code":"done"}
`

const read = `
{"kind":"subscribe","sub":80,"channel":"d:x","from":"first"}
{"kind":"ok","sub":80,"at":"1:0","head":"1:2"}
`

func TestTinyLogs(t *testing.T) {
	kept := Config{Kept: []relay.Pattern{"d:*"}}
	for _, c := range []struct {
		name  string
		cfg   Config
		lines string
		want  Promise // empty: none
		shows string  // the lines of the excerpt
	}{
		{"all is well", kept, two + whole, "", ""},
		{"acknowledged, and lost at the end", Config{}, two + `
{"kind":"replica","sub":1,"channel":"d:x","replica":"r1"}
{"kind":"ok","sub":1,"at":"1:0","head":"1:1"}
{"kind":"message","sub":1,"at":"1:1","digest":"000000000000000a"}
{"kind":"end","sub":1,"code":"done"}`, P1, "4 5 6 9"},
		{"acknowledged, and another stands there", Config{}, two + strings.ReplaceAll(whole, "000a", "000c") + `
{"kind":"publish","op":3,"channel":"d:x","producer":"q","n":1,"digest":"000000000000000c"}`, P1, "2 3 11 8"},
		{"acknowledged twice in one place", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"q","n":1,"digest":"000000000000000c"}
{"kind":"answer","op":3,"code":"done","at":"1:2"}`, P1, "4 5 6 7"},
		{"given up by a gap of epochs", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"after"}
{"kind":"ok","sub":1,"at":"1:1","head":"2:0"}
{"kind":"gap","sub":1,"after":"1:1","next":"2:1","reason":"epoch"}`, P1, "4 5 6 7 8"},
		{"given up by a gap of epochs, where that may be", Config{Epochs: []relay.Pattern{"d:*"}}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"after"}
{"kind":"ok","sub":1,"at":"1:1","head":"2:0"}
{"kind":"gap","sub":1,"after":"1:1","next":"2:1","reason":"epoch"}`, "", ""},
		{"trimmed", Config{}, two + `
{"kind":"replica","sub":1,"channel":"d:x","replica":"r1"}
{"kind":"ok","sub":1,"at":"1:2","head":"1:2"}`, "", ""},
		{"trimmed, and was to be kept", kept, two + `
{"kind":"replica","sub":1,"channel":"d:x","replica":"r1"}
{"kind":"ok","sub":1,"at":"1:2","head":"1:2"}`, P1, "2 3 6 7"},
		{"replicas differ", Config{}, two + whole + `
{"kind":"replica","sub":91,"channel":"d:x","replica":"r2"}
{"kind":"ok","sub":91,"at":"1:1","head":"1:2"}
{"kind":"message","sub":91,"at":"1:2","digest":"000000000000000b"}
{"kind":"end","sub":91,"code":"done"}`, P1, "6 8 13 11"},
		{"one replica is behind", Config{}, two[:strings.Index(two, `{"kind":"publish","op":2`)] + whole + `
{"kind":"publish","op":2,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000b"}
{"kind":"replica","sub":91,"channel":"d:x","replica":"r2"}
{"kind":"ok","sub":91,"at":"1:0","head":"1:1"}
{"kind":"message","sub":91,"at":"1:1","digest":"000000000000000a"}
{"kind":"end","sub":91,"code":"done"}`, P1, ""},

		{"replicas end apart", Config{}, strings.Replace(two, `"done","at":"1:2"`, `"unknown"`, 1) + strings.NewReplacer("1:0", "1:2").Replace(
			whole[:strings.Index(whole, `{"kind":"message"`)]) + `
{"kind":"replica","sub":91,"channel":"d:x","replica":"r2"}
{"kind":"ok","sub":91,"at":"1:1","head":"1:1"}`, P1, "6 7 8 9"},
		{"a history that ends before its head", Config{}, whole[:strings.Index(whole, `{"kind":"message","sub":90,"at":"1:2"`)] + `
{"kind":"end","sub":90,"code":"done"}`, P2, "2 4 5"},

		{"missing", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:2","digest":"000000000000000b"}`, P2, "6 7 3 8"},
		{"twice", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}`, P2, "6 8 9"},
		{"not what the gap named", Config{}, two + read + `
{"kind":"gap","sub":80,"after":"1:0","next":"1:3","reason":"trimmed"}
{"kind":"message","sub":80,"at":"1:4","digest":"000000000000000b"}`, P2, "6 8 9"},
		{"a gap that leads back", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"gap","sub":80,"after":"1:0","next":"1:3","reason":"trimmed"}`, P2, "6 8 9"},
		{"a gap of epochs that gives up what was delivered", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"gap","sub":80,"after":"1:0","next":"1:1","reason":"epoch"}`, P1, "2 3 6 8 9"},
		{"a gap that begins further on", Config{}, two + read + `
{"kind":"gap","sub":80,"after":"1:1","next":"1:2","reason":"trimmed"}`, P2, "6 7 3 8"},
		{"a message after the end", Config{}, two + read + `
{"kind":"end","sub":80,"code":"moved"}
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}`, P2, "6 8 9"},
		{"another epoch, without a gap", Config{}, two + read + `
{"kind":"publish","op":3,"channel":"d:x","producer":"q","n":1,"digest":"000000000000000c"}
{"kind":"message","sub":80,"at":"2:1","digest":"000000000000000c"}`, P1, "2 3 6 7 9"},
		{"a channel that begins in a later epoch", Config{}, `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"live"}
{"kind":"ok","sub":1,"at":"1:0","head":"1:0"}
{"kind":"message","sub":1,"at":"3:1","digest":"000000000000000c"}`, "", ""},
		{"before its answer", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"live"}
{"kind":"message","sub":1,"at":"1:1","digest":"000000000000000a"}`, P2, "6 7"},
		{"resumed further on", Config{}, two + read + `
{"kind":"ok","sub":80,"at":"1:1","head":"1:2"}`, P2, "6 7 8"},
		{"resumed", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"ok","sub":80,"at":"1:1","head":"1:2"}
{"kind":"message","sub":80,"at":"1:2","digest":"000000000000000b"}
{"kind":"drained","sub":80}`, "", ""},
		{"waited for, and still behind", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"drained","sub":80}`, P2, "6 8 5 9"},
		{"waited for, and never answered", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"first"}
{"kind":"drained","sub":1}`, P2, "6 5 7"},
		{"begun further on than it asked for", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"after","after":"1:1"}
{"kind":"ok","sub":1,"at":"1:2","head":"1:2"}`, P2, "6 5 7"},
		{"begun where it asked for", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"after","after":"1:1"}
{"kind":"ok","sub":1,"at":"1:1","head":"1:2"}
{"kind":"message","sub":1,"at":"1:2","digest":"000000000000000b"}`, "", ""},
		{"the latest, and then an earlier one", Config{}, two + strings.Replace(read, `"from"`, `"mode":"latest","from"`, 1) + `
{"kind":"message","sub":80,"at":"1:2","digest":"000000000000000b"}
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}`, P2, "6 8 9"},
		{"in two epochs", Config{Epochs: []relay.Pattern{"d:*"}}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"gap","sub":80,"after":"1:1","next":"2:1","reason":"epoch"}
{"kind":"message","sub":80,"at":"2:1","digest":"000000000000000a"}`, P5, ""},
		{"ended before its head", Config{}, two + strings.Replace(read, `"from"`, `"limit":5,"from"`, 1) + `
{"kind":"message","sub":80,"at":"1:1","digest":"000000000000000a"}
{"kind":"end","sub":80,"code":"done"}`, P2, "6 8 9"},

		{"nobody published it", Config{}, two + read + `
{"kind":"message","sub":80,"at":"1:1","digest":"00000000000000ff"}`, P1, "2 3 8"},
		{"nobody published it, where nothing was", Config{}, two + strings.ReplaceAll(read, "1:0", "1:2") + `
{"kind":"message","sub":80,"at":"1:3","digest":"00000000000000ff"}`, P3, "6 8"},
		{"delivered, and gone at the end", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"p","n":3,"digest":"000000000000000c"}
{"kind":"subscribe","sub":1,"channel":"d:x"` + `,"from":"live"}
{"kind":"ok","sub":1,"at":"1:2","head":"1:2"}
{"kind":"message","sub":1,"at":"1:3","digest":"000000000000000c"}` + whole, P3, "6 9 10 14"},
		{"refused, and stands", Config{}, `
{"kind":"publish","op":1,"channel":"d:x","producer":"p","n":1,"digest":"000000000000000a"}
{"kind":"answer","op":1,"code":"too_large"}
{"kind":"publish","op":2,"channel":"d:x","producer":"p","n":1,"digest":"000000000000000b"}
{"kind":"answer","op":2,"code":"done","at":"1:2"}` + strings.Replace(whole, "r1", "r", 1), P3, "2 3 8"},
		{"unknown, and appears", Config{}, strings.Replace(two, `"done","at":"1:2"`, `"unknown"`, 1) + whole, "", ""},
		{"unknown, and never appears", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"p","n":3,"digest":"000000000000000c"}` + whole, "", ""},

		{"published after the answer, and before its position", Config{}, two[:strings.Index(two, `{"kind":"publish","op":2`)] + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"live"}
{"kind":"ok","sub":1,"at":"1:2","head":"1:2"}
{"kind":"publish","op":2,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000b"}
{"kind":"answer","op":2,"code":"done","at":"1:2"}`, P4, "4 5 6"},
		{"a barrier before what was acknowledged", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"live","barrier":true}
{"kind":"ok","sub":1,"at":"1:1","head":"1:2"}`, P4, "5 6 7"},
		{"behind, without a barrier", Config{}, two + `
{"kind":"subscribe","sub":1,"channel":"d:x","from":"live"}
{"kind":"ok","sub":1,"at":"1:1","head":"1:2"}`, "", ""},
		{"behind what was acknowledged before it began", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"q","n":1,"digest":"000000000000000c"}
{"kind":"answer","op":3,"code":"done","at":"1:0"}`, P4, "5 6 7"},

		{"two answers", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000b"}
{"kind":"answer","op":3,"code":"done","at":"1:3"}`, P5, ""},
		{"a second copy", Config{}, two + strings.ReplaceAll(read, "1:0", "1:2") + `
{"kind":"message","sub":80,"at":"1:3","digest":"000000000000000b"}`, P5, "4 5 8"},
		{"a second copy, of two without a producer", Config{}, `
{"kind":"publish","op":1,"channel":"d:x","digest":"000000000000000a"}
{"kind":"publish","op":2,"channel":"d:x","digest":"000000000000000a"}` + strings.ReplaceAll(whole, "000b", "000a"), "", ""},
		{"used up, and stands", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"p","n":2,"void":true}
{"kind":"answer","op":3,"code":"voided"}`, P5, "4 7 5"},
		{"one number, two messages", Config{}, two + `
{"kind":"publish","op":3,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000c"}
{"kind":"answer","op":3,"code":"done","at":"1:3"}`, P5, "4 5 7"},

		{"out of order", Config{}, strings.NewReplacer("1:1", "1:2", "1:2", "1:1").Replace(two[:strings.Index(two, `{"kind":"answer","op":1`)]) + `
{"kind":"publish","op":2,"channel":"d:x","producer":"p","n":2,"digest":"000000000000000b"}
{"kind":"answer","op":1,"code":"done","at":"1:2"}
{"kind":"answer","op":2,"code":"done","at":"1:1"}`, P10, "2 4 3 5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Run(c.cfg, tiny(t, c.lines))
			if c.want == "" {
				if !v.OK() {
					t.Fatalf("%s", v.Violations[0].String())
				}
				return
			}
			if v.OK() {
				t.Fatalf("nothing found; want %s", c.want)
			}
			x := v.Violations[0]
			var shows []string
			for _, l := range x.Lines {
				shows = append(shows, strconv.Itoa(l.Number))
			}
			if got := strings.Join(shows, " "); x.Promise != c.want || c.shows != "" && got != c.shows {
				t.Errorf("lines %s, want %s %s:\n%s", got, c.want, c.shows, x.String())
			}
		})
	}
}
