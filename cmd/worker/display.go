package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"

	"github.com/towpath/towpath/store"
)

var errNegativeAfter = errors.New("--after is below 0")

// display is how results look: for people, or one JSON object a line.
type display struct{ json bool }

func (d *display) addFlag(f *pflag.FlagSet) {
	f.BoolVar(&d.json, "json", false, "print one JSON object a line")
}

// line prints an event on a line of its own.
func (d display) line(w io.Writer, e store.Event) error {
	if d.json {
		return writeJSON(w, e)
	}
	_, err := fmt.Fprintf(w, "%5d  %s  %-22s %s\n", e.Seq, e.At.Local().Format("15:04:05.000"), e.Type, compact(e.Data))
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func compact(data json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return string(data)
	}
	return b.String()
}

// terminal reports whether w is one, for colour and line breaks.
func terminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
