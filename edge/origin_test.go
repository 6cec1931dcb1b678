package edge

import "testing"

func TestOriginsAllow(t *testing.T) {
	list, err := parseOrigins([]string{"https://app.example", "https://*.wild.example", "http://localhost:*", "https://[::1]:8443"})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://app.example":           true,
		"HTTPS://APP.example":           true,
		"http://app.example":            false,
		"https://app.example:8443":      false,
		"https://app.example.evil.test": false,
		"https://evilapp.example":       false,
		"https://a.wild.example":        true,
		"https://a.b.wild.example":      true,
		"https://wild.example":          false,
		"https://evilwild.example":      false,
		"http://localhost:3000":         true,
		"http://localhost":              true,
		"http://localhost.evil.test:1":  false,
		"https://[::1]:8443":            true,
		"https://[::1]":                 false,
		"null":                          false,
		"":                              false,
		"https://":                      false,
		"https://app.example/":          false,
		"https://evil@app.example":      false,
	} {
		if got := list.allow(origin); got != want {
			t.Errorf("%q: %v; want %v", origin, got, want)
		}
	}
	if origins(nil).allow("https://app.example") {
		t.Error("an empty list allows")
	}
	if all, err := parseOrigins([]string{"*"}); err != nil || !all.allow("null") || !all.allow("https://any.example") {
		t.Errorf("the list of all: %v, %v", all, err)
	}
	for _, bad := range []string{"", "app.example", "https://", "https://*", "https://a.*.example", "https://app.example/path", "*.example", "https://*example"} {
		if _, err := parseOrigins([]string{bad}); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	list, err := parseOrigins([]string{"https://*.example", "http://localhost:*"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("https://a.example")
	f.Fuzz(func(t *testing.T, origin string) {
		if r, ok := splitOrigin(origin); list.allow(origin) && (!ok || r.scheme != "https" && r.host != "localhost") {
			t.Fatalf("%q is allowed", origin)
		}
	})
}
