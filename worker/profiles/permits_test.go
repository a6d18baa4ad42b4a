package profiles

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/towpath/towpath/worker/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const everything = `
[[http]]
host = "api.example.com"
methods = ["POST"]
secrets = ["KEY"]
response_mb = 8
timeout = "2m"
idle = "30s"

[[http]]
host = "localhost:8080"
methods = ["GET", "POST"]
private = true

[[proc]]
name = "codex"
command = "/usr/bin/codex"
args = ["app-server", "*"]
secrets = ["TOKEN"]

[secrets.KEY]
env = "EXAMPLE_KEY"
[secrets.TOKEN]
command = ["pass", "show", "token"]

[limits]
memory_mb = 32
turn = "90s"
idle = "5s"
fuel = 2000000
calls_per_s = 100
event_kb = 16
events_mb = 2
handles = 4
capacity = 2
attempts = 1
in_doubt = "ask"

[config]
model = "small"
temperature = 0.5
stop = ["a", "b"]
[config.nested]
since = 2024-01-02
`

func TestAPermitFileSaysEverything(t *testing.T) {
	p, err := ParsePermits("x.toml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	want := Permits{
		HTTP: []HTTP{
			{Permit: egress.Permit{Host: "api.example.com", Methods: []string{"POST"}, Secrets: []string{"KEY"},
				MaxResponse: 8 << 20, Timeout: 2 * time.Minute, Idle: 30 * time.Second}},
			{Permit: egress.Permit{Host: "localhost:8080", Methods: []string{"GET", "POST"}, Private: true}},
		},
		Proc: []Proc{{Name: "codex", Command: "/usr/bin/codex", Args: []string{"app-server", "*"}, Secrets: []string{"TOKEN"}}},
		Secrets: map[string]egress.Source{
			"KEY": {Env: "EXAMPLE_KEY"}, "TOKEN": {Command: []string{"pass", "show", "token"}},
		},
		Limits: Limits{Memory: 32 << 20, Turn: 90 * time.Second, Idle: 5 * time.Second, Fuel: 2000000, CallsPerSecond: 100,
			Event: 16 << 10, Events: 2 << 20, Journal: 256 << 20, Handles: 4, Capacity: 2, Attempts: 1, InDoubt: InDoubtAsk},
		Config: json.RawMessage(`{"model":"small","nested":{"since":"2024-01-02"},"stop":["a","b"],"temperature":0.5}`),
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("permits are\n%+v\nwant\n%+v", p, want)
	}
}

func TestAnEmptyPermitFilePermitsNothing(t *testing.T) {
	p, err := ParsePermits("x.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.HTTP)+len(p.Proc)+len(p.Secrets) != 0 || string(p.Config) != "{}" {
		t.Errorf("permits are %+v", p)
	}
	want := Limits{Memory: 64 << 20, Turn: 10 * time.Minute, Idle: 5 * time.Minute, CallsPerSecond: 20000,
		Event: 1 << 20, Events: 64 << 20, Journal: 256 << 20, Handles: 16, Capacity: 100, Attempts: 3, InDoubt: InDoubtRetry}
	if p.Limits != want || DefaultLimits() != want {
		t.Errorf("limits are %+v, want %+v", p.Limits, want)
	}
	zero, err := ParsePermits("x.toml", []byte("[limits]\nmemory_mb = 0\nturn = 0\nidle = 0\nfuel = 0\ncalls_per_s = 0\nhandles = 0"))
	if err != nil || zero.Limits != want {
		t.Errorf("zeros give %+v (%v), want the defaults", zero.Limits, err)
	}
}

func TestPermitFilesThatAreRefused(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"[limit]\nturn = \"1m\"", "x.toml: line 1: limit is not known, did you mean limits?"},
		{"\n[[http]]\nhots = \"a.example\"", "line 3: http.hots is not known, did you mean host?"},
		{"[[http]]\nhost=\"a.example\"\nmethods=[\"GET\"]\n[[http]]\nhost=\"b.example\"\nmethod=[\"GET\"]", "line 6: http.method is not known, did you mean methods?"},
		{"[limits]\nmemory = 1\nturns = \"1m\"", "line 3: limits.turns is not known, did you mean turn?"},
		{"[limits]\nxyzzy = 1", "known here are memory_mb, turn"},
		{"[secrets.KEY]\nenvironment = \"A\"", "line 2: secrets.KEY.environment is not known, known here are env, file, command"},
		{"[[http]\n", "line 1"},
		{"[[http]]\nhost = 1", "line 2: http.host"},
		{"http = 1", "line 1"},
		{"a = \"\xff\"", "UTF-8"},
		{strings.Repeat("#", maxPermitFile+1), "over"},

		{"[[http]]\nhost = \"a.example\"", `host "a.example": no methods`},
		{"[[http]]\nhost = \"a.example/x\"\nmethods=[\"GET\"]", "without a path"},
		{"[[http]]\nhost = \"http://a.example\"\nmethods=[\"GET\"]", "private = true"},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\nsecrets=[\"KEY\"]", "add [secrets.KEY]"},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\n[[http]]\nhost = \"A.example\"\nmethods=[\"POST\"]", "twice"},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\ntimeout=\"soon\"", `timeout: "soon" is out of range: write a time from "1ms" to "168h"`},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\nidle=\"-1s\"", "idle"},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\nresponse_mb=-1", "response_mb: -1 is out of range"},
		{"[[http]]\nhost = \"a.example\"\nmethods=[\"GET\"]\nroots=\"ca.pem\"", "absolute"},

		{"[[proc]]\ncommand=\"/bin/true\"", "a name is"},
		{"[[proc]]\nname=\"../x\"\ncommand=\"/bin/true\"", "a name is"},
		{"[[proc]]\nname=\"x\"", "command is missing"},
		{"[[proc]]\nname=\"x\"\ncommand=\"./x\"", "absolute path"},
		{"[[proc]]\nname=\"x\"\ncommand=\"x\"\n[[proc]]\nname=\"x\"\ncommand=\"y\"", "twice"},
		{"[[proc]]\nname=\"x\"\ncommand=\"x\"\nsecrets=[\"KEY\"]", "add [secrets.KEY]"},

		{"[secrets.KEY]", "exactly one source"},
		{"[secrets.KEY]\nenv=\"A\"\nfile=\"b\"", "exactly one source"},
		{"[secrets.a-b]\nenv=\"A\"", "letters, digits"},

		{"[secrets.KEY]\nlogin=\"access_token\"", "add [login] with issuer and client_id"},
		{"[login]\nissuer=\"https://a.example\"\nclient_id=\"x\"\n[secrets.KEY]\nlogin=\"password\"", `login "password": write access_token or account`},
		{"[login]\nissuer=\"https://a.example\"", "login: client_id is missing"},
		{"[login]\nissuer=\"a.example\"\nclient_id=\"x\"", "login: issuer \"a.example\": write a URL"},
		{"[login]\nissuer=\"http://a.example\"\nclient_id=\"x\"", "private = true"},
		{"[login]\nissuer=\"https://a.example/x\"\nclient_id=\"x\"", "without a path"},

		{"[limits]\nmemory_mb = 5000", "limits.memory_mb: 5000 is out of range: write a number from 1 to 4096"},
		{"[limits]\nmemory_mb = -1", "limits.memory_mb"},
		{"[limits]\nmemory_mb = \"64\"", "limits.memory_mb"},
		{"[limits]\nmemory_mb = 1.5", "limits.memory_mb"},
		{"[limits]\nturn = \"1ms\"", `limits.turn: 1ms is out of range: write a time from "1s" to "168h0m0s"`},
		{"[limits]\nturn = 60", "limits.turn: 60 has no unit"},
		{"[limits]\nidle = \"x\"", "limits.idle"},
		{"[limits]\nidle = true", "limits.idle"},
		{"[limits]\nhandles = 65", "limits.handles: 65 is out of range: write a number from 1 to 64"},
		{"[limits]\nevent_kb = 2000", "limits.event_kb"},
		{"[limits]\nin_doubt = \"maybe\"", `limits.in_doubt: "maybe" is not one of retry, fail, ask`},
		{"[config]\nx = nan", "config"},
	} {
		_, err := ParsePermits("x.toml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "x.toml: ") {
			t.Errorf("%.80q: error is %v\nwant it to say %q", c.text, err, c.says)
		}
	}
}

// The ranges of the table are the ranges of the parser, and hold the defaults.
func TestEveryLimitTakesItsRange(t *testing.T) {
	for _, row := range limits {
		for n, ok := range map[int64]bool{row.min: true, row.max: true, row.min - 1: false, row.max + 1: false} {
			if n == 0 {
				continue // the default
			}
			value := row.text(n)
			if row.isTime() {
				value = `"` + value + `"`
			}
			_, err := ParsePermits("x.toml", fmt.Appendf(nil, "[limits]\n%s = %s", row.key, value))
			if (err == nil) != ok {
				t.Errorf("%s = %s: %v", row.key, value, err)
			}
		}
		if row.def != 0 && (row.def < row.min || row.def > row.max) {
			t.Errorf("%s has its default out of range", row.key)
		}
	}
}

func TestSettingsReadLikeTheFile(t *testing.T) {
	p, err := ParsePermits("x.toml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, s := range p.Limits.Settings() {
		fmt.Fprintf(&got, "%s=%s(%s) ", s.Key, s.Value, s.Default)
	}
	want := "memory_mb=32(64) turn=1m30s(10m0s) idle=5s(5m0s) fuel=2000000(0) calls_per_s=100(20000) event_kb=16(1024) " +
		"events_mb=2(64) journal_mb=256(256) handles=4(16) capacity=2(100) attempts=1(3) in_doubt=ask(retry) "
	if got.String() != want {
		t.Errorf("settings are %s\nwant %s", got.String(), want)
	}
}

func TestArgumentPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns, args string
		ok             bool
	}{
		{"", "", true},
		{"", "x", false},
		{"app-server", "app-server", true},
		{"app-server", "", false},
		{"app-server", "app-server x", false},
		{"app-server *", "app-server", true},
		{"app-server *", "app-server -c x", true},
		{"app-server *", "exec", false},
		{"app-server *", "", false},
		{"*", "", true},
		{"*", "a b c", true},
		{"* x", "a x", true},
		{"* x", "x", false},
		{"--model=*", "--model=small", true},
		{"--model=*", "--model=", true},
		{"--model=*", "--mode=small", false},
		{"--model=*", "--model=a b", false},
		{"a*b*c", "axxbyyc", true},
		{"a*b*c", "abc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"*.json *", "x.json y", true},
		{"**", "anything", true},
	} {
		p := Proc{Args: strings.Fields(c.patterns)}
		if got := p.Allows(strings.Fields(c.args)); got != c.ok {
			t.Errorf("%q allows %q: %v", c.patterns, c.args, got)
		}
	}
}

// What a machine adds is looked up when a profile is loaded.
func TestCommandsAndRootsAreLocated(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	parse := func(text string) Permits {
		p, err := ParsePermits("x.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p, err := parse("[[proc]]\nname=\"t\"\ncommand=\"tool\"").locate()
	if err != nil || p.Proc[0].Command != filepath.Join(dir, "tool") {
		t.Errorf("command is %+v (%v)", p.Proc, err)
	}
	for text, says := range map[string]string{
		"[[proc]]\nname=\"t\"\ncommand=\"other\"":                                                         "install it",
		"[[proc]]\nname=\"t\"\ncommand=\"/nonexistent/tool\"":                                             "install it",
		"[[http]]\nhost=\"a.example\"\nmethods=[\"GET\"]\nroots=\"" + filepath.Join(dir, "ca.pem") + "\"": "no such file",
	} {
		if _, err := parse(text).locate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzPermits(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("[[http]]\nhost=\"a\"\nx.y.z=1\n[secrets.a.b]\nc=1"))
	f.Add([]byte("limits.turn.x = 1\nconfig = {a = 1979-05-27T07:32:00Z}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePermits("x.toml", text)
		if err != nil {
			return
		}
		if !json.Valid(p.Config) || p.Config[0] != '{' {
			t.Fatalf("config is %s", p.Config)
		}
		for _, s := range p.Limits.Settings() {
			if s.Value == "" {
				t.Fatalf("%s is empty", s.Key)
			}
		}
		if p.Limits.Memory <= 0 || p.Limits.Turn <= 0 || p.Limits.Handles <= 0 || p.Limits.Capacity <= 0 || p.Limits.Attempts <= 0 {
			t.Fatalf("limits are %+v", p.Limits)
		}
	})
}

// The permit files that are shipped are read as they are, each setting known.
func TestShippedPermitsAreSound(t *testing.T) {
	files, err := filepath.Glob("../../plugins/*/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParsePermits(file, text)
		if err != nil {
			t.Error(err)
		}
		if account := filepath.Base(file) == "chatgpt.toml"; account != (p.Login != nil) {
			t.Errorf("%s: login %v", file, p.Login)
		}
	}
}
