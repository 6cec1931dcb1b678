package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUntilHead: a script gets what was acknowledged, and an end.
func TestUntilHead(t *testing.T) {
	s := newShell(t)
	s.dev()
	s.ok("1\n2\n3\n", "pub", "demo:a", "--lines")
	s.ok("", "pub", "demo:b", "x")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"demo:a", "--from", "start"}, "1\n2\n3\n"},
		{[]string{"demo:a", "--from", "last:2"}, "2\n3\n"},
		{[]string{"demo:nothing", "--from", "start"}, ""},
		{[]string{"demo:a", "--from", "start", "--count", "2"}, "1\n2\n"},
	} {
		r := s.ok("", append([]string{"sub", "--until-head"}, c.args...)...)
		if r.out != c.want {
			t.Errorf("%q: printed %q, want %q", c.args, r.out, c.want)
		}
	}
	r := s.ok("", "sub", "--until-head", "--from", "start", "demo:a", "demo:b")
	if got := r.lines(); len(got) != 4 {
		t.Errorf("two channels: %q", got)
	}
	s.fails(2, "--until-head with --from live", "", "sub", "demo:a", "--until-head")
}

// TestLogsPassCheck: what pub and sub log is what meridian check judges.
func TestLogsPassCheck(t *testing.T) {
	s := newShell(t)
	s.dev()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	s.ok("1\n2\n3\n4\n", "pub", "demo:a", "--lines", "--log", file("pub"), "--acks", file("acks"))
	s.fails(1, "--log: open", "x", "pub", "demo:a", "--log", file("pub")) // no log is written over
	s.ok("", "sub", "demo:a", "--from", "start", "--until-head", "--log", file("sub"))
	s.ok("", "check", "--kept", "demo:*", file("pub"), file("sub"))

	if b, err := os.ReadFile(file("acks")); err != nil || strings.Count(string(b), "\n") != 4 || !strings.HasSuffix(string(b), ":4\t4\n") {
		t.Errorf("acknowledged: %q, %v", b, err)
	}

	// A message that was acknowledged and is not there is found.
	b, err := os.ReadFile(file("sub"))
	if err != nil {
		t.Fatal(err)
	}
	// What was acknowledged while it read up to its head may be beyond that, and is no fault.
	if strings.Contains(string(b), "drained") {
		t.Errorf("a subscription up to its head is said to have been waited for:\n%s", b)
	}
	for _, missing := range []string{":3\"", ":4\""} {
		var kept []string
		for _, line := range strings.SplitAfter(string(b), "\n") {
			if !strings.Contains(line, missing) || !strings.Contains(line, `"message"`) {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(file("short"), []byte(strings.Join(kept, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		s.fails(10, "a promise was broken", "", "check", "--kept", "demo:*", file("pub"), file("short"))
	}
}
