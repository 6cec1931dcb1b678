package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A field is a setting: a leaf of a configuration struct.
type field struct {
	key    string // dotted
	secret bool
	value  reflect.Value
}

// tagged returns the key that a struct's field has in its file; "" where it is no setting.
func tagged(f reflect.StructField) (key string, secret bool) {
	key, option, _ := strings.Cut(f.Tag.Get("key"), ",")
	return key, option == "secret"
}

// nested reports whether v holds settings of its own.
func nested(t reflect.Type) bool {
	return t.Kind() == reflect.Struct
}

// fields lists the settings of the struct v, in the order in which it declares them. Those of
// maps and lists of structs are listed as far as there are entries.
func fields(prefix string, v reflect.Value) []field {
	var list []field
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			key, secret := tagged(v.Type().Field(i))
			if key == "" {
				continue
			}
			f := v.Field(i)
			if nested(f.Type()) || many(f.Type()) {
				list = append(list, fields(join(prefix, key), f)...)
				continue
			}
			list = append(list, field{join(prefix, key), secret, f})
		}
	case v.Kind() == reflect.Map:
		for _, k := range sortedKeys(v) {
			entry := reflect.New(v.Type().Elem()).Elem()
			entry.Set(v.MapIndex(reflect.ValueOf(k)))
			list = append(list, fields(join(prefix, k), entry)...)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			list = append(list, fields(fmt.Sprintf("%s[%d]", prefix, i), v.Index(i))...)
		}
	}
	return list
}

// many reports whether t is a map or a list of structs.
func many(t reflect.Type) bool {
	return (t.Kind() == reflect.Map || t.Kind() == reflect.Slice) && nested(t.Elem())
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// assign sets v to raw, which a file, the environment or a flag gave.
func assign(v reflect.Value, raw any) error {
	text := fmt.Sprint(raw)
	switch v.Interface().(type) {
	case Age:
		if text == forever {
			v.SetInt(-1)
			return nil
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a time; write a number with its unit, such as 10m or 24h, or forever", text)
		}
		v.SetInt(int64(d))
		return nil
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Errorf("%q is not a time; write a number with its unit, such as 500ms, 10s or 24h", text)
		}
		v.SetInt(int64(d))
		return nil
	case Bytes:
		b, err := ParseBytes(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(b))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		if !scalar(raw) {
			return fmt.Errorf("one text is wanted here, not %s", shape(raw))
		}
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		v.SetInt(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(x)
	case reflect.Slice:
		list, err := texts(raw)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(list))
	default:
		panic("config: a setting of kind " + v.Kind().String()) // a fault of the struct, found by any test
	}
	return nil
}

// texts reads a list: a sequence in a file, or text with commas.
func texts(raw any) ([]string, error) {
	var list []string
	switch raw := raw.(type) {
	case []any:
		for i, entry := range raw {
			if !scalar(entry) {
				return nil, fmt.Errorf("entry %d is %s; a list of texts is wanted", i, shape(entry))
			}
			list = append(list, fmt.Sprint(entry))
		}
	case []string:
		list = raw
	case string:
		for entry := range strings.SplitSeq(raw, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				list = append(list, entry)
			}
		}
	case nil:
	default:
		return nil, fmt.Errorf("a list is wanted here, not %s", shape(raw))
	}
	return list, nil
}

func scalar(raw any) bool {
	switch raw.(type) {
	case string, bool, int, int64, uint64, float64:
		return true
	}
	return false
}

// shape names what raw is.
func shape(raw any) string {
	switch raw.(type) {
	case map[string]any:
		return "a section"
	case []any:
		return "a list"
	case nil:
		return "nothing"
	}
	return fmt.Sprintf("%q", fmt.Sprint(raw))
}

// render writes a setting's value for a person.
func render(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case Age:
		return x.String()
	case Bytes:
		return x.String()
	case []string:
		return strings.Join(x, ", ")
	}
	return fmt.Sprint(v.Interface())
}
