package wire_test

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/meridian-relay/meridian/relay/wire"
)

func specification(t *testing.T) string {
	raw, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// tables returns the rows of every table in text that has these headings, as cells.
func tables(text string, headings ...string) [][]string {
	var rows [][]string
	in := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			in = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case slices.Equal(cells, headings):
			in = true
		case in && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	return rows
}

func TestSpecificationOfTypes(t *testing.T) {
	var want [][]string
	for typ := range wire.Type(0x40) {
		if typ.Known() {
			want = append(want, []string{fmt.Sprintf("0x%02x", uint64(typ)), typ.String(), strconv.Itoa(typ.Bound())})
		}
	}
	var got [][]string
	for _, row := range tables(specification(t), "Type", "Frame", "Way", "Ref", "Longest body, bytes") {
		got = append(got, []string{row[0], row[1], row[4]})
		number, err := strconv.ParseUint(row[0], 0, 64)
		if up := row[2] == "up"; err != nil || up != (number < 0x20) {
			t.Errorf("%v goes %s", row[1], row[2])
		}
	}
	if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("docs/protocol.md has\n%v\nand the code has\n%v", got, want)
	}
}

// TestSpecificationOfBodies holds every table of fields to wire.proto.
func TestSpecificationOfBodies(t *testing.T) {
	text := specification(t)
	messages := wire.File_wire_proto.Messages()
	for i := range messages.Len() {
		m := messages.Get(i)
		_, section, ok := strings.Cut(text, "\n### "+string(m.Name())+"\n")
		if !ok {
			t.Errorf("docs/protocol.md has no section %s", m.Name())
			continue
		}
		section, _, _ = strings.Cut(section, "\n##")
		var got, want [][]string
		for _, row := range tables(section, "Field", "Name", "Type", "Meaning") {
			got = append(got, row[:3])
		}
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			want = append(want, []string{strconv.Itoa(int(f.Number())), string(f.Name()), typeName(f)})
		}
		if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("%s: docs/protocol.md has\n%v\nand wire.proto has\n%v", m.Name(), got, want)
		}
	}
}

func typeName(f protoreflect.FieldDescriptor) string {
	var name string
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", typeName(f.MapKey()), typeName(f.MapValue()))
	case f.Enum() != nil:
		name = string(f.Enum().Name())
	case f.Message() != nil:
		name = string(f.Message().Name())
	default:
		name = f.Kind().String()
	}
	if f.IsList() {
		name = "repeated " + name
	}
	return name
}

func TestSpecificationOfEnums(t *testing.T) {
	text := specification(t)
	for _, c := range []struct {
		enum     protoreflect.Enum
		prefix   string
		headings []string
	}{
		{wire.Start(0), "START_", []string{"Start", "Number", "S"}},
		{wire.Mode(0), "MODE_", []string{"Mode", "Number", "What comes"}},
		{wire.GapReason(0), "GAP_", []string{"Reason", "Number", "Why the messages will not come"}},
		{wire.State(0), "STATE_", []string{"State", "Number", ""}},
	} {
		var want, got [][]string
		values := c.enum.Descriptor().Values()
		for i := range values.Len() {
			name := strings.ToLower(strings.TrimPrefix(string(values.Get(i).Name()), c.prefix))
			if name != "unspecified" {
				want = append(want, []string{name, strconv.Itoa(int(values.Get(i).Number()))})
			}
		}
		for _, row := range tables(text, c.headings...) {
			got = append(got, row[:2])
		}
		if !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("%s: docs/protocol.md has %v, wire.proto has %v", c.prefix, got, want)
		}
	}
}

// TestSpecificationOfBytes holds the worked example to the golden bytes.
func TestSpecificationOfBytes(t *testing.T) {
	byName := map[string]*golden{}
	for _, g := range loadGolden(t) {
		byName[g.Name] = g
	}
	blocks := strings.Split(specification(t), "\n```hex ")[1:]
	if len(blocks) < 6 {
		t.Errorf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		name, rest, _ := strings.Cut(block, "\n")
		text, _, _ := strings.Cut(rest, "\n```")
		var digits strings.Builder
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, ";")
			digits.WriteString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
		}
		g := byName[name]
		if g == nil {
			t.Errorf("example %q has no golden bytes", name)
			continue
		}
		if got := unhex(t, name, digits.String()); !bytes.Equal(got, g.bytes(t)) {
			t.Errorf("example %q: docs/protocol.md has %x, golden are %x", name, got, g.bytes(t))
		}
	}
}
