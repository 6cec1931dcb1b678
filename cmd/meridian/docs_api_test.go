package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/meridian-relay/meridian/client"
)

// TestDocsNameTheAPI: the pages of the clients name every option, error and part of a message.
func TestDocsNameTheAPI(t *testing.T) {
	root := repository(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	names := map[string][]string{}
	// members are those of an interface or class of the SDK.
	members := func(file, kind string) {
		body, ok := strings.CutPrefix(regexp.MustCompile(`(?ms)^export (interface|class) `+kind+` .*?^}`).FindString(read("client/js/src/"+file)), "export ")
		if !ok {
			t.Fatalf("%s has no %s", file, kind)
		}
		found := regexp.MustCompile(`(?m)^  (?:readonly |get )*([a-z]\w*)[?(<:]`).FindAllStringSubmatch(body, -1)
		for _, m := range found {
			if m[1] != "constructor" && m[1] != "next" && m[1] != "return" { // of the iterator protocol
				names["clients/javascript.md"] = append(names["clients/javascript.md"], m[1])
			}
		}
		if len(found) < 2 {
			t.Errorf("%s: %d members found", kind, len(found))
		}
	}
	members("options.ts", "ConnectOptions")
	members("client.ts", "Relay")
	members("state.ts", "StateChange")
	members("channel.ts", "Channel")
	members("subscription.ts", "SubscribeOptions")
	members("subscription.ts", "SubscriptionEvents")
	members("subscription.ts", "Gap")
	members("subscription.ts", "Subscribed")
	members("subscription.ts", "Subscription")
	members("history.ts", "HistoryOptions")
	members("message.ts", "Message")
	names["clients/javascript.md"] = append(names["clients/javascript.md"], regexp.MustCompile(`\w+Error\b`).FindAllString(read("client/js/src/index.ts"), -1)...)
	for _, v := range []any{client.Config{}, client.SubscribeOptions{}, client.Message{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			if f.IsExported() {
				names["clients/go.md"] = append(names["clients/go.md"], f.Name)
			}
		}
	}
	for page, all := range names {
		text := read("docs/" + page)
		for _, name := range all {
			if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
				t.Errorf("docs/%s does not name %s", page, name)
			}
		}
	}
}
