// Package vocabulary is the one list of the events and outcomes that all backends share: vocabulary.json, a JSON Schema
// for each type. A backend may add types of its own; one from the list has to fit.
//
// Only tests check events, all of them: package guesttest does with everything a plugin emits, package queuetest with what is
// in a test's database at its end, stories with the real codex included. A worker stores what a guest says.
package vocabulary

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed vocabulary.json
var document []byte

const location = "urn:towpath:vocabulary"

type list struct {
	types   map[string]*jsonschema.Schema
	outcome *jsonschema.Schema
}

// compiled is the list made ready. It is part of the program, so a fault in it is one of the program.
var compiled = sync.OnceValue(func() list {
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		panic(fmt.Sprintf("vocabulary: %v", err))
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(location, parsed); err != nil {
		panic(fmt.Sprintf("vocabulary: %v", err))
	}
	l := list{types: map[string]*jsonschema.Schema{}}
	for name := range parsed.(map[string]any)["$defs"].(map[string]any) {
		schema := c.MustCompile(location + "#/$defs/" + name)
		switch {
		case name == "Outcome":
			l.outcome = schema
		case name == strings.ToLower(name):
			l.types[name] = schema
		}
	}
	return l
})

// Types returns the types of events in the list, in no order.
func Types() []string {
	var names []string
	for name := range compiled().types {
		names = append(names, name)
	}
	return names
}

// Known reports whether a type of event is in the list.
func Known(eventType string) bool { return compiled().types[eventType] != nil }

// Check says what is wrong with the data of an event, the object without its type. Nothing is wrong with a type that is
// not in the list.
func Check(eventType string, data []byte) error {
	schema := compiled().types[eventType]
	if schema == nil {
		return nil
	}
	return check("event "+eventType, schema, data)
}

// CheckOutcome says what is wrong with what a turn finishes with.
func CheckOutcome(data []byte) error { return check("outcome", compiled().outcome, data) }

func check(what string, schema *jsonschema.Schema, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		return fmt.Errorf("%s %.200s: %w", what, data, err)
	}
	return nil
}
