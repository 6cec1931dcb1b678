package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain is the children's main too: Run starts this binary again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "child" {
		if err := Child(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestEveryRowRuns runs every row, small and short: its figures mean nothing, but it must print
// them all.
func TestEveryRowRuns(t *testing.T) {
	for _, r := range rows() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			flow := "off"
			if r.name == "paced-128" || r.name == "flood-1k" {
				flow = "both"
			}
			var out bytes.Buffer
			err := Run(t.Context(), Config{
				Command: []string{os.Args[0], "child"}, Rows: []string{r.name}, Flow: flow,
				Pairs: 1, For: 300 * time.Millisecond, Sessions: 8, JSON: true, Out: &out,
			})
			if err != nil && !errors.Is(err, ErrMissed) {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if want := map[bool]int{false: 1, true: 2}[flow == "both"]; len(lines) != want {
				t.Fatalf("%d lines, want %d: %s", len(lines), want, out.String())
			}
			for _, line := range lines {
				checkRow(t, r, []byte(line))
			}
		})
	}
}

// checkRow checks that every bound's figure was measured, against the base where there is one.
func checkRow(t *testing.T, r row, line []byte) {
	t.Helper()
	var got struct{ Figures []figure }
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]figure{}
	for _, f := range got.Figures {
		found[f.Metric] = f
	}
	for _, b := range r.bounds {
		f, ok := found[b.of.Name]
		if !ok || len(f.Runs) != 1 || f.Bound == "" {
			t.Errorf("%s: figure %+v", b, f)
		}
		if b.ratio > 0 && len(f.BaseRuns) != 1 {
			t.Errorf("%s: no base", b)
		}
	}
	if len(found) == 0 {
		t.Error("no figures")
	}
}

func TestUnknownRow(t *testing.T) {
	err := Run(t.Context(), Config{Command: []string{"x"}, Rows: []string{"paced-129"}, Out: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), `"paced-129"`) || !strings.Contains(err.Error(), "paced-128") {
		t.Errorf("%v: want the name, and those that there are", err)
	}
}

// TestAChildThatDies checks that a run ends with what the child said.
func TestAChildThatDies(t *testing.T) {
	err := Run(t.Context(), Config{
		Command: []string{"sh", "-c", "echo no such luck >&2; exit 3"}, Rows: []string{"sessions"}, Out: &bytes.Buffer{},
	})
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("%v: want what the child said", err)
	}
}
