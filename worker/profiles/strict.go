package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// decodeStrictly reads TOML into a struct. Its errors name the line, and for an unknown key the nearest known one.
func decodeStrictly(text []byte, into any) error {
	err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(into)
	var unknown *toml.StrictMissingError
	var one *toml.DecodeError
	switch {
	case errors.As(err, &unknown):
		var all []string
		for _, e := range unknown.Errors {
			line, _ := e.Position()
			all = append(all, fmt.Sprintf("line %d: %s is not known%s", line, strings.Join(e.Key(), "."), suggestion(e.Key(), into)))
		}
		return errors.New(strings.Join(all, "; "))
	case errors.As(err, &one):
		line, _ := one.Position()
		what := strings.TrimPrefix(one.Error(), "toml: ")
		if len(one.Key()) > 0 {
			what = strings.Join(one.Key(), ".") + ": " + what
		}
		return fmt.Errorf("line %d: %s", line, what)
	}
	return err
}

// suggestion names the known key of the same table that is nearest to the unknown one.
func suggestion(key []string, into any) string {
	at := reflect.TypeOf(into)
	for _, part := range key {
		for at.Kind() != reflect.Struct {
			if at.Kind() == reflect.Map {
				break
			}
			at = at.Elem()
		}
		if at.Kind() == reflect.Map {
			at = at.Elem() // part is a name of the operator's
			continue
		}
		known := keysOf(at)
		i := slices.Index(known, part)
		if i < 0 {
			slices.SortStableFunc(known, func(a, b string) int { return distance(part, a) - distance(part, b) })
			if distance(part, known[0]) <= (len(part)+1)/2 {
				return ", did you mean " + known[0] + "?"
			}
			return ", known here are " + strings.Join(keysOf(at), ", ")
		}
		at = at.Field(i).Type
	}
	return ""
}

func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = t.Field(i).Tag.Get("toml")
	}
	return keys
}

// distance counts the letters to insert, delete or exchange to make a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
