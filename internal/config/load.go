package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Sources are where settings come from; of one given twice, the later counts: defaults, File,
// Environ, Flags.
type Sources struct {
	File    string            // a YAML file; empty: none
	Environ []string          // NAME=VALUE, of which MERIDIAN_… count
	Flags   map[string]string // dotted key to value; only those that were given
}

// Settings are the values in force and where each comes from.
type Settings struct {
	into    reflect.Value
	origins map[string]string // of leaves that some source set
}

const (
	flagOrigin = "flag"
	fromFlag   = "(from " + flagOrigin + ")"
)

// EnvPrefix begins the name of each environment variable that is ours.
const EnvPrefix = "MERIDIAN_"

// Load fills into, a pointer to a configuration struct that holds the defaults. The error names
// every key that is not known or has no usable value, and its source.
func Load(into any, s Sources) (*Settings, error) {
	set := &Settings{into: reflect.ValueOf(into).Elem(), origins: make(map[string]string)}
	all := koanf.New(".")
	var faults []error
	layer := func(k *koanf.Koanf, origin func(key string) string) error {
		for _, key := range k.Keys() {
			set.origins[key] = origin(key)
		}
		return all.Merge(k)
	}

	if s.File != "" {
		k := koanf.New(".")
		if err := k.Load(file.Provider(s.File), yaml.Parser()); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("configuration file %s does not exist", s.File)
		} else if err != nil {
			return nil, fmt.Errorf("configuration file %s: %w", s.File, err)
		}
		if err := layer(k, func(string) string { return s.File }); err != nil {
			return nil, err
		}
	}

	values, names, unknown := environment(s.Environ, set.into)
	faults = append(faults, unknown...)
	k := koanf.New(".")
	if err := k.Load(confmap.Provider(values, "."), nil); err != nil {
		return nil, err
	}
	if err := layer(k, func(key string) string { return "environment " + names[key] }); err != nil {
		return nil, err
	}

	flags := make(map[string]any, len(s.Flags))
	for key, value := range s.Flags {
		flags[key] = value
	}
	k = koanf.New(".")
	if err := k.Load(confmap.Provider(flags, "."), nil); err != nil {
		return nil, err
	}
	if err := layer(k, func(string) string { return flagOrigin }); err != nil {
		return nil, err
	}

	faults = append(faults, set.fill("", set.into, all.Raw())...)
	if len(faults) > 0 {
		return nil, &Faults{faults}
	}
	return set, nil
}

// Faults are what is wrong with settings.
type Faults struct{ list []error }

func (f *Faults) Error() string { return errors.Join(f.list...).Error() }

// OfFlags reports whether flags alone are to blame.
func (f *Faults) OfFlags() bool {
	for _, err := range f.list {
		if !strings.HasSuffix(err.Error(), fromFlag) {
			return false
		}
	}
	return true
}

// Environment names of client commands and of tests, which are no settings of a server; but FOR is
// one of dev.
var clientNames = []string{"CONFIG_DIR", "CONTEXT", "URL", "TOKEN", "SEED", "FOR", "CONFIG"}

// environment picks our variables: their values by key, and their names. One that no
// configuration knows is a fault, except what Kubernetes sets for a service called meridian….
func environment(environ []string, into reflect.Value) (values map[string]any, names map[string]string, faults []error) {
	keys := make(map[string]string) // variable to key
	for _, f := range fields("", into) {
		keys[envName(f.key)] = f.key
	}
	elsewhere := make(map[string]bool)
	for _, other := range []any{&Edge{}, &Dev{}, &Core{}} {
		for _, f := range fields("", reflect.ValueOf(other).Elem()) {
			elsewhere[envName(f.key)] = true
		}
	}
	values, names = make(map[string]any), make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours {
			continue
		}
		key, ok := keys[name]
		switch {
		case ok:
			values[key], names[key] = value, name
		case slices.Contains(clientNames, rest), elsewhere[name] || serviceLink(rest):
		default:
			fault := fmt.Sprintf("environment %s: no such setting", name)
			if near := nearest(name, slices.Sorted(maps.Keys(keys))); near != "" {
				fault += "; did you mean " + near + "?"
			}
			faults = append(faults, errors.New(fault))
		}
	}
	return values, names, faults
}

func envName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// serviceLink reports whether Kubernetes made the variable from a service's name.
func serviceLink(rest string) bool {
	return strings.HasSuffix(rest, "SERVICE_HOST") || strings.Contains("_"+rest, "_SERVICE_PORT") ||
		strings.HasSuffix("_"+rest, "_PORT") || strings.Contains("_"+rest, "_PORT_")
}

// fill sets v, a struct, from raw, and names what does not fit.
func (s *Settings) fill(prefix string, v reflect.Value, raw map[string]any) (faults []error) {
	known := make(map[string]reflect.Value)
	for i := range v.NumField() {
		if key, _ := tagged(v.Type().Field(i)); key != "" {
			known[key] = v.Field(i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		key := join(prefix, name)
		f, ok := known[name]
		if !ok {
			fault := fmt.Sprintf("%s: no such setting", key)
			if near := nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
				fault += "; did you mean " + join(prefix, near) + "?"
			} else {
				fault += "; known here: " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
			}
			faults = append(faults, s.fault(key, fault))
			continue
		}
		faults = append(faults, s.set(key, f, raw[name])...)
	}
	return faults
}

// set sets one entry of a struct: a leaf, a section, or several sections.
func (s *Settings) set(key string, f reflect.Value, raw any) (faults []error) {
	wrong := func(want string) []error {
		return []error{s.fault(key, fmt.Sprintf("%s: %s is wanted here, not %s", key, want, shape(raw)))}
	}
	switch {
	case nested(f.Type()):
		section, ok := raw.(map[string]any)
		if !ok {
			return wrong("a section")
		}
		return s.fill(key, f, section)
	case many(f.Type()) && f.Kind() == reflect.Map:
		sections, ok := raw.(map[string]any)
		if !ok {
			return wrong("a section of names")
		}
		if f.IsNil() {
			f.Set(reflect.MakeMap(f.Type()))
		}
		for _, name := range slices.Sorted(maps.Keys(sections)) {
			section, ok := sections[name].(map[string]any)
			if !ok && sections[name] != nil { // nothing: all defaults
				faults = append(faults, s.fault(join(key, name), fmt.Sprintf("%s: a section is wanted here, not %s", join(key, name), shape(sections[name]))))
				continue
			}
			entry := reflect.New(f.Type().Elem()).Elem()
			if old := f.MapIndex(reflect.ValueOf(name)); old.IsValid() {
				entry.Set(old)
			}
			faults = append(faults, s.fill(join(key, name), entry, section)...)
			f.SetMapIndex(reflect.ValueOf(name), entry)
		}
		return faults
	case many(f.Type()):
		list, ok := raw.([]any)
		if !ok {
			return wrong("a list of sections")
		}
		f.Set(reflect.MakeSlice(f.Type(), len(list), len(list)))
		for i, entry := range list {
			at := fmt.Sprintf("%s[%d]", key, i)
			section, ok := entry.(map[string]any)
			if !ok {
				faults = append(faults, s.fault(key, fmt.Sprintf("%s: a section is wanted here, not %s", at, shape(entry))))
				continue
			}
			faults = append(faults, s.fill(at, f.Index(i), section)...)
		}
		return faults
	}
	if err := assign(f, raw); err != nil {
		return []error{s.fault(key, fmt.Sprintf("%s: %v", key, err))}
	}
	return nil
}

// fault is text with the source of key, which may be a section: then that of a leaf in it.
func (s *Settings) fault(key, text string) error {
	return fmt.Errorf("%s (from %s)", text, s.origin(key))
}

// origin says where the setting comes from.
func (s *Settings) origin(key string) string {
	if o, ok := s.origins[key]; ok {
		return o
	}
	for set, o := range s.origins {
		if strings.HasPrefix(set, key+".") { // key is a section
			return o
		}
		if strings.HasPrefix(key, set+"[") { // key is in a list
			return o
		}
	}
	return "default"
}

func sortedKeys(m reflect.Value) []string {
	var keys []string
	for _, k := range m.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}
