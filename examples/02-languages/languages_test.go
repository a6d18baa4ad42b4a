package languages

import (
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/guest/guesttest"
)

var built string // folder of the modules

func TestMain(m *testing.M) {
	engine.ChildMain()
	os.Exit(func() int {
		flag.Parse()
		if !wanted() {
			return m.Run()
		}
		dir, err := os.MkdirTemp("", "towpath-languages-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		built = dir
		build := exec.Command("./build.sh", dir)
		build.Stdout, build.Stderr = os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			println("build.sh:", err.Error())
			return 1
		}
		return m.Run()
	}())
}

// wanted reports whether the compilers may be installed.
func wanted() bool { return os.Getenv("TOWPATH_TEST_LANGUAGES") != "" }

func need(t *testing.T) {
	if !wanted() {
		t.Skip("needs compilers of C, Rust and AssemblyScript: make languages")
	}
}

// each runs a test on the plugin of each language.
func each(t *testing.T, plugin string, test func(t *testing.T, m *engine.Module)) {
	need(t)
	eng, err := engine.New(t.Context(), engine.Config{CacheDir: filepath.Join(built, "cache"), Seed: []byte("test"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close(t.Context())
	for _, language := range Languages {
		t.Run(language, func(t *testing.T) {
			wasm, err := os.ReadFile(filepath.Join(built, language+"-"+plugin+".wasm"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := eng.Load(t.Context(), wasm, engine.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Manifest(); got.Name != plugin || got.Version != "1" {
				t.Errorf("manifest is %+v", got)
			}
			test(t, m)
		})
	}
}

func TestEveryLanguageSaysTheSame(t *testing.T) {
	each(t, "hello", func(t *testing.T, m *engine.Module) {
		h := guesttest.New(t, hostabi.TurnRequest{Config: json.RawMessage(`{"greeting":"Hello"}`)})
		for _, file := range []string{"first", "second"} {
			h = h.Next(json.RawMessage(`{"text": "Ada"}`))
			h.Serve(m.Run)
			want, err := os.ReadFile(filepath.Join("..", "01-hello", "expected", file+".jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, e := range h.Events() {
				got += string(e.JSON) + "\n"
			}
			if got += string(h.Finished()) + "\n"; got != string(want) {
				t.Errorf("%s turn:\n%swant:\n%s", file, got, want)
			}
		}
		for input, name := range map[string]string{`{"text":"Ad\u0061 \"x\" ü"}`: `Ada "x" ü`, `{"text":"A{d,a]"}`: "A{d,a]"} {
			h = h.Next(json.RawMessage(input))
			h.Serve(m.Run)
			var said struct{ Text string }
			if err := json.Unmarshal(h.Events()[1].JSON, &said); err != nil || said.Text != "Hello, "+name+"!" {
				t.Errorf("%s: %s %v", input, h.Events()[1].JSON, err)
			}
		}
		h = h.Next(json.RawMessage(`{}`))
		if r := h.Serve(m.Run); r.Kind != "invalid" || r.Message != `input has no "text": pass {"text":"your name"}` || len(h.Events()) != 0 {
			t.Errorf("without a name: %s", r.JSON)
		}
	})
}

// turn is one turn of the plugin stream against a server.
func turn(t *testing.T, m *engine.Module, server func(*guesttest.Exchange)) (deltas []string, r guesttest.Result) {
	h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"hi"}`), Config: json.RawMessage(`{"url":"http://127.0.0.1:1/v1"}`)})
	h.Server = server
	r = h.Serve(m.Run)
	for _, e := range h.Events() {
		var said struct{ Text string }
		if err := json.Unmarshal(e.JSON, &said); err != nil || e.Type != "message.delta" {
			t.Errorf("event %s: %v", e.JSON, err)
		}
		deltas = append(deltas, said.Text)
	}
	return deltas, r
}

func TestEveryLanguageStreams(t *testing.T) {
	each(t, "stream", func(t *testing.T, m *engine.Module) {
		const long = 100_000
		deltas, r := turn(t, m, func(x *guesttest.Exchange) {
			if x.Head.Method != "POST" || x.Head.URL != "http://127.0.0.1:1/v1" || x.Head.Headers["authorization"] != "Bearer {{secret:KEY}}" || string(x.Body) != `{"text":"hi"}` {
				t.Errorf("asked for %+v with %s", x.Head, x.Body)
			}
			x.Respond(200, http.Header{"X-A": {"b"}})
			for _, piece := range []string{"one\ntw", "o \"\\\t\xc3", "\xbc\n", "\n" + strings.Repeat("x", long) + "\nrest\n"} {
				io.WriteString(x, piece)
			}
			x.End()
		})
		want := []string{"one", "two \"\\\tü", "", strings.Repeat("x", long), "rest"}
		if strings.Join(deltas, "|") != strings.Join(want, "|") {
			t.Errorf("said %.200q", deltas)
		}
		var said struct{ Text string }
		if err := json.Unmarshal(r.JSON, &said); err != nil || r.Status != "completed" || said.Text != strings.Join(want, "\n")+"\n" {
			t.Errorf("result %.200s: %v", r.JSON, err)
		}
	})
}

// What a dead worker leaves is asked for again, by name.
func TestEveryLanguageAsksAgainByName(t *testing.T) {
	each(t, "stream", func(t *testing.T, m *engine.Module) {
		var keys []string
		deltas, r := turn(t, m, func(x *guesttest.Exchange) {
			keys = append(keys, x.IdempotencyKey)
			x.Respond(200, nil)
			io.WriteString(x, "again\n")
			if len(keys) == 1 {
				if x.Head.RetryOf != 0 {
					t.Errorf("first names %d", x.Head.RetryOf)
				}
				x.Fail(hostabi.ELOST, "the worker was lost")
				return
			}
			if x.Head.RetryOf == 0 {
				t.Error("the second names nothing")
			}
			x.End()
		})
		var said struct{ Text string }
		if err := json.Unmarshal(r.JSON, &said); err != nil || said.Text != "again\n" || r.Status != "completed" || len(deltas) != 2 {
			t.Errorf("result %s, deltas %q", r.JSON, deltas)
		}
		if len(keys) != 2 || keys[0] != keys[1] {
			t.Errorf("keys %q", keys)
		}
	})
}

func TestEveryLanguageNamesWhatFailed(t *testing.T) {
	each(t, "stream", func(t *testing.T, m *engine.Module) {
		_, r := turn(t, m, func(x *guesttest.Exchange) {
			x.Respond(503, nil)
			x.End()
		})
		if r.Status != "failed" || r.Kind != "provider" || r.Message != "status 503" {
			t.Errorf("status 503: %s", r.JSON)
		}
		_, r = turn(t, m, func(x *guesttest.Exchange) { x.Fail(hostabi.EIO, "the line is \"cut\"") })
		if r.Status != "failed" || r.Kind != "network" || !strings.Contains(r.Message, `the line is "cut"`) {
			t.Errorf("a cut line: %s", r.JSON)
		}
	})
}

// A project that is made for a language is one that a node takes.
func TestANewProjectBuilds(t *testing.T) {
	need(t)
	eng, err := engine.New(t.Context(), engine.Config{CacheDir: filepath.Join(built, "cache"), Seed: []byte("test"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close(t.Context())
	for _, language := range Languages {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mine")
			if err := New(language, dir, "mine"); err != nil {
				t.Fatal(err)
			}
			if err := New(language, dir, "mine"); err == nil || !strings.Contains(err.Error(), "is not empty") {
				t.Errorf("a second time: %v", err)
			}
			tools, err := exec.Command("../../scripts/languages.sh", language).Output()
			if err != nil {
				t.Fatal(err)
			}
			root, err := filepath.Abs("../..")
			if err != nil {
				t.Fatal(err)
			}
			args := append([]string{"TOWPATH=" + root}, upper(strings.Fields(string(tools)))...)
			make := exec.Command("make", append([]string{"-s"}, args...)...)
			make.Dir = dir
			if out, err := make.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			wasm, err := os.ReadFile(filepath.Join(dir, "mine.wasm"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := eng.Load(t.Context(), wasm, engine.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			h := guesttest.New(t, hostabi.TurnRequest{Input: json.RawMessage(`{"text":"Ada"}`), Config: json.RawMessage("{}")})
			if r := h.Serve(m.Run); r.Status != "completed" {
				t.Errorf("result %s", r.JSON)
			}
		})
	}
	if err := New("cobol", filepath.Join(t.TempDir(), "x"), "x"); err == nil || !strings.Contains(err.Error(), "known are go, c, rust, assemblyscript") {
		t.Errorf("an unknown language: %v", err)
	}
}

// upper makes rustc=… the variable that a Makefile has: RUSTC=….
func upper(settings []string) []string {
	for i, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		settings[i] = strings.ToUpper(name) + "=" + value
	}
	return settings
}
