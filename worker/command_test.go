package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/profiles"
)

// operated is a profile whose operator permits the command talk, and binds one of two secrets to it.
func operated(t *testing.T) *profiles.Profile {
	t.Helper()
	sources := map[string]egress.Source{}
	for name, value := range map[string]string{"KEY": "first secret {{secret:OTHER}}", "OTHER": "second secret"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		sources[name] = egress.Source{File: file}
	}
	secrets, err := egress.NewSecrets(sources)
	if err != nil {
		t.Fatal(err)
	}
	return &profiles.Profile{Name: "p", Secrets: secrets, Permits: profiles.Permits{Secrets: sources, Proc: []profiles.Proc{
		{Name: "talk", Command: "/bin/cat", Args: []string{"-u", "*"}, Secrets: []string{"KEY"}},
		{Name: "broken", Command: "/bin/cat", Secrets: []string{"NONE"}},
	}}}
}

// refusal is the code and text of what a guest is told; 0 when it is let through.
func refusal(t *testing.T, err error) (hostabi.Code, string) {
	t.Helper()
	if err == nil {
		return 0, ""
	}
	var refused *hostabi.Error
	if !errors.As(err, &refused) {
		t.Fatalf("not for the guest: %v", err)
	}
	return refused.Code, refused.Message
}

func TestOnlyPermittedCommandsRun(t *testing.T) {
	p := operated(t)
	for _, c := range []struct {
		wish hostabi.ProcSpec
		code hostabi.Code
		fix  string
	}{
		{hostabi.ProcSpec{Name: "talk", Args: []string{"-u", "a", "b"}}, 0, ""},
		{hostabi.ProcSpec{Name: "/bin/cat"}, hostabi.EDENIED, `[[proc]] name = `},
		{hostabi.ProcSpec{Name: "talk", Args: []string{"-n"}}, hostabi.EDENIED, `[[proc]] name = "talk"`},
		{hostabi.ProcSpec{Name: "broken"}, hostabi.EIO, "secrets.NONE"},
	} {
		cmd, err := command(t.Context(), p, c.wish)
		code, text := refusal(t, err)
		if code != c.code || !strings.Contains(text, c.fix) {
			t.Errorf("%+v: %v %s", c.wish, code, text)
		}
		if err == nil && (cmd.Path != "/bin/cat" || strings.Join(cmd.Args, " ") != "-u a b") {
			t.Errorf("%+v became %s %q", c.wish, cmd.Path, cmd.Args)
		}
	}
}

func TestPlaceholdersAreFilledWhereTheSecretIsBound(t *testing.T) {
	cmd, err := command(t.Context(), operated(t), hostabi.ProcSpec{Name: "talk", Args: []string{"-u", "{{secret:KEY}}"}})
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Args[1] != "{{secret:KEY}}" {
		t.Errorf("an argument is filled: %q", cmd.Args)
	}
	const key = "first secret {{secret:OTHER}}" // a value is not filled again
	for _, c := range []struct {
		in, out string
		code    hostabi.Code
		fix     string
	}{
		{"plain", "plain", 0, ""},
		{"", "", 0, ""},
		{"a {{secret:KEY}} b {{secret:KEY}}\n", "a " + key + " b " + key + "\n", 0, ""},
		{"{{secret}} {secret:KEY}", "{{secret}} {secret:KEY}", 0, ""},
		{"{{secret:OTHER}}", "", hostabi.EDENIED, `secrets = ["OTHER"]`},
		{"{{secret:}}", "", hostabi.EDENIED, "not bound"},
		{"{{secret:KEY}} {{secret:KE", "", hostabi.EINVAL, "{{secret:NAME}}"},
		{"{{secret:{{secret:KEY}}}}", "", hostabi.EINVAL, "{{secret:NAME}}"},
	} {
		out, err := cmd.Fill([]byte(c.in))
		code, text := refusal(t, err)
		if string(out) != c.out || code != c.code || !strings.Contains(text, c.fix) || strings.Contains(text, "first") {
			t.Errorf("%q: %q, %v %s", c.in, out, code, text)
		}
	}
	if s := cmd.Scrub().Scrub([]byte("it said "+key), true); string(s) != "it said [redacted:KEY]" {
		t.Errorf("output %q", s)
	}
}
