package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// key is one setting: its dotted name and the field that holds it. Names follow from the fields, so an
// option is documented where its package declares it and nowhere else.
type key struct {
	name   string
	field  reflect.Value
	secret bool
}

// env is the variable that sets the key: data.max_message_bytes is SHORTLIST_DATA_MAX_MESSAGE_BYTES.
func (k key) env() string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_").Replace(k.name))
}

var durationType = reflect.TypeFor[time.Duration]()

// keysOf lists the settings of a struct in the order of its fields. Fields of kinds that text cannot
// express (functions, loggers, registries) are wiring, not settings.
func keysOf(prefix string, v reflect.Value) []key {
	var keys []key
	for i := range v.NumField() {
		field, value := v.Type().Field(i), v.Field(i)
		if !field.IsExported() || field.Tag.Get("config") == "-" {
			continue
		}
		name := snake(field.Name)
		if prefix != "" {
			name = prefix + "." + name
		}
		switch value.Kind() {
		case reflect.Struct:
			keys = append(keys, keysOf(name, value)...)
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
			keys = append(keys, key{name: name, field: value, secret: field.Tag.Get("config") == "secret"})
		}
	}
	return keys
}

// set parses text into the field; the error says what was expected.
func (k key) set(text string) error {
	if k.field.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration; write it like 150ms or 2s", text)
		}
		k.field.SetInt(int64(d))
		return nil
	}
	switch k.field.Kind() {
	case reflect.String:
		k.field.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not a boolean; write true or false", text)
		}
		k.field.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer", text)
		}
		k.field.SetInt(n)
	default:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != f || f > 1e300 || f < -1e300 {
			return fmt.Errorf("%q is not a finite number", text)
		}
		k.field.SetFloat(f)
	}
	return nil
}

// text is what set would read back; secrets are masked.
func (k key) text() string {
	if k.secret && k.field.String() != "" {
		return "(set)"
	}
	return fmt.Sprint(k.field.Interface())
}

// snake turns a Go field name into a key: MaxRecvBytes is max_recv_bytes, UserID is user_id.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 {
			after := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(runes[i-1]) || unicode.IsDigit(runes[i-1]) || after {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// nearest is the known name with the fewest edits to name, or "" where none is close.
func nearest(name string, known []string) string {
	best, bestEdits := "", len(name)/2+1
	for _, candidate := range known {
		if d := edits(name, candidate); d < bestEdits {
			best, bestEdits = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitution := diagonal
			if a[i] != b[j] {
				substitution++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitution, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
