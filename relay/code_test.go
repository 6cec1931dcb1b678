package relay_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// TestCodesOnlyGrow holds the list to a file that nobody may change but by adding.
func TestCodesOnlyGrow(t *testing.T) {
	raw, err := os.ReadFile("testdata/codes.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range relay.Codes() {
		fmt.Fprintf(&got, "%d %v %v\n", c, c, c.Retry())
	}
	_, want, _ := strings.Cut(string(raw), "\n")
	if got.String() != want {
		t.Errorf("the codes are\n%s\nand testdata/codes.txt says\n%s", got.String(), want)
	}
}

func TestCodesAreDistinctAndInOrder(t *testing.T) {
	list := relay.Codes()
	if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
		t.Errorf("not in order, or twice: %d", list)
	}
	names := map[string]bool{}
	for _, c := range list {
		if names[c.String()] {
			t.Errorf("%v stands twice", c)
		}
		names[c.String()] = true
		if c > 999 {
			t.Errorf("%v is %d; codes are at most 999", c, c)
		}
	}
}

// row is a line of the table of codes in docs/protocol.md.
type row struct{ number, name, retry string }

// TestCodesStandInTheSpecification: each with its number, its retry rule, a meaning and what to
// do.
func TestCodesStandInTheSpecification(t *testing.T) {
	raw, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(raw), "\n## Codes\n")
	if !ok {
		t.Fatal(`docs/protocol.md has no section "Codes"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var got []row
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if _, err := strconv.Atoi(strings.TrimSpace(cells[0])); err != nil || len(cells) != 5 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			if cells[i] == "" {
				t.Errorf("an empty cell: %s", line)
			}
		}
		// Problem documents of the HTTP API name an error by this anchor.
		anchor, name, _ := strings.Cut(strings.Trim(cells[1], "`"), "`")
		if anchor != `<a id="`+name+`"></a>` {
			t.Errorf("%s: no anchor %s", line, name)
		}
		got = append(got, row{cells[0], name, cells[2]})
	}
	var want []row
	for _, c := range relay.Codes() {
		want = append(want, row{strconv.Itoa(int(c)), c.String(), c.Retry().String()})
	}
	if !slices.Equal(got, want) {
		t.Errorf("docs/protocol.md has\n%v\nand the code has\n%v", got, want)
	}
}

func TestUnknownCodes(t *testing.T) {
	if c := relay.Code(998); c.String() != "code 998" || c.Retry() != relay.Later {
		t.Errorf("%v %v", c, c.Retry())
	}
}

func TestEndAsError(t *testing.T) {
	if err := (relay.End{}).Err(); err != nil {
		t.Errorf("done is %v", err)
	}
	err := fmt.Errorf("publish: %w", relay.End{Code: relay.Busy, Detail: "table full"}.Err())
	if e, ok := errors.AsType[*relay.Error](err); !ok || e.End.Code != relay.Busy {
		t.Errorf("%v is no *relay.Error", err)
	}
	if !errors.Is(err, relay.End{Code: relay.Busy}.Err()) || errors.Is(err, relay.End{Code: relay.Moved}.Err()) {
		t.Errorf("errors.Is tells codes apart by something else: %v", err)
	}
	if s := err.Error(); s != "publish: busy: table full" {
		t.Error(s)
	}
}
