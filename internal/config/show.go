package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// A Line is one setting for a person to read.
type Line struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"` // default, a file's name, a variable, or flag
}

// Redacted stands for a secret.
const Redacted = "(redacted)"

// Lines lists every setting, its value and where it comes from. Secrets are redacted.
func (s *Settings) Lines() []Line {
	var lines []Line
	for _, f := range fields("", s.into) {
		value := render(f.value)
		if f.secret && value != "" {
			value = Redacted
		}
		lines = append(lines, Line{Key: f.key, Value: withoutPassword(value), From: s.origin(f.key)})
	}
	return lines
}

// Differ lists the settings that are not as in old, but for those of the sections left out.
func (s *Settings) Differ(old *Settings, leftOut ...string) []string {
	before := make(map[string]string)
	for _, f := range fields("", old.into) {
		before[f.key] = render(f.value)
	}
	var changed []string
	note := func(key string) {
		if !slices.ContainsFunc(leftOut, func(section string) bool { return key == section || strings.HasPrefix(key, section+".") }) {
			changed = append(changed, key)
		}
	}
	for _, f := range fields("", s.into) {
		if value, ok := before[f.key]; !ok || value != render(f.value) {
			note(f.key)
		}
		delete(before, f.key)
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		note(key)
	}
	return changed
}

// withoutPassword redacts what stands before the @ of a URL.
func withoutPassword(value string) string {
	if !strings.Contains(value, "://") {
		return value
	}
	u, err := url.Parse(value)
	if err != nil || u.User == nil {
		return value
	}
	u.User = nil
	return strings.Replace(u.String(), "://", "://"+Redacted+"@", 1)
}
