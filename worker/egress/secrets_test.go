package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func newSecrets(t *testing.T, sources map[string]Source) *Secrets {
	t.Helper()
	s, err := NewSecrets(sources)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsFromEachSource(t *testing.T) {
	t.Setenv("TOWPATH_TEST_SECRET", "from-environment")
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "from-a-file\r\n")
	s := newSecrets(t, map[string]Source{
		"ENV":     {Env: "TOWPATH_TEST_SECRET"},
		"FILE":    {File: file},
		"COMMAND": {Command: []string{"printf", "%s\n", "from $(a) 'command'"}},
	})
	for name, want := range map[string]string{"ENV": "from-environment", "FILE": "from-a-file", "COMMAND": "from $(a) 'command'"} {
		got, err := s.Value(t.Context(), name)
		if err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	text := []byte("from-environment from-a-file from $(a) 'command'")
	if got := string(s.Redact(text)); got != "[redacted:ENV] [redacted:FILE] [redacted:COMMAND]" {
		t.Errorf("redacted is %q", got)
	}
}

func TestAFileRotatesWithoutRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, "first-value")
	s := newSecrets(t, map[string]Source{"KEY": {File: file}})
	value := func() string {
		v, err := s.Value(t.Context(), "KEY")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got := value(); got != "first-value" {
		t.Fatalf("value is %q", got)
	}
	// As secret stores do it: another file takes the name. Size and time may be the same.
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file+".new", "other-value")
	if err := os.Chtimes(file+".new", info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	if got := value(); got != "other-value" {
		t.Errorf("value is %q after the rename", got)
	}
	write(t, file, "third-longer-value")
	if got := value(); got != "third-longer-value" {
		t.Errorf("value is %q after the write", got)
	}
	if got := string(s.Redact([]byte("first-value other-value third-longer-value"))); got != "[redacted:KEY] [redacted:KEY] [redacted:KEY]" {
		t.Errorf("earlier values are not scrubbed: %q", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value(t.Context(), "KEY"); err == nil {
		t.Error("a removed file still gives its value")
	}
	write(t, file, "back-again")
	if got := value(); got != "back-again" {
		t.Errorf("value is %q after the file came back", got)
	}
}

func TestACommandRunsAgainWhenItsTimeIsOver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "token-one")
	s := newSecrets(t, map[string]Source{"KEY": {Command: []string{"cat", file}}})
	value := func() string {
		v, err := s.Value(t.Context(), "KEY")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	value()
	write(t, file, "token-two")
	if got := value(); got != "token-one" {
		t.Errorf("value is %q while the first is fresh", got)
	}
	s.entries["KEY"].expires = time.Now()
	if got := value(); got != "token-two" {
		t.Errorf("value is %q after its time", got)
	}
}

func TestSourcesThatFail(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "\n", "short": "1234567\n", "long": strings.Repeat("x", maxSecret+1)} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, c := range []struct {
		source Source
		says   string
	}{
		{Source{Env: "TOWPATH_TEST_UNSET"}, "TOWPATH_TEST_UNSET is not set"},
		{Source{File: filepath.Join(dir, "none")}, "no such file"},
		{Source{File: dir}, "not a regular file"},
		{Source{File: filepath.Join(dir, "empty")}, "empty"},
		{Source{File: filepath.Join(dir, "short")}, "shorter than 8"},
		{Source{File: filepath.Join(dir, "long")}, "over 16384"},
		{Source{Command: []string{"/nonexistent"}}, "/nonexistent"},
		{Source{Command: []string{"sh", "-c", "echo canary-value; echo canary-value >&2; exit 3"}}, "exit status 3"},
		{Source{Command: []string{"head", "-c", "100000", "/dev/zero"}}, "over 16384"},
	} {
		s := newSecrets(t, map[string]Source{"KEY": c.source})
		v, err := s.Value(t.Context(), "KEY")
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "KEY") {
			t.Errorf("%+v: %v does not say %q", c.source, err, c.says)
		}
		if v != "" || strings.Contains(fmt.Sprint(err), "canary-value") {
			t.Errorf("%+v: value %q, error %v", c.source, v, err)
		}
	}
}

func TestSourcesThatCannotBeMeant(t *testing.T) {
	for name, source := range map[string]Source{
		"NONE": {}, "TWO": {Env: "A", File: "b"}, "BLANK": {Command: []string{""}}, "A-B": {Env: "A"}, "": {Env: "A"}, "1A": {Env: "A"},
	} {
		if _, err := NewSecrets(map[string]Source{name: source}); err == nil {
			t.Errorf("%s %+v is accepted", name, source)
		}
	}
}

// A command that hangs, and its own child that keeps the output open, end with the turn that asked.
func TestAHangingCommandEndsWithItsCaller(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSecrets(t, map[string]Source{"KEY": {Command: []string{"sh", "-c", `sleep 600 > "$0" & wait`, fifo}}})
	lost := errors.New("lease lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := s.Value(ctx, "KEY")
			asked <- err
		}()
	}
	alive, err := os.Open(fifo) // returns when the child has it open too
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	cancel(lost)
	for range 2 {
		if err := <-asked; !errors.Is(err, lost) {
			t.Errorf("ended with %v, want the cause", err)
		}
	}
	if _, err := io.ReadAll(alive); err != nil { // ends when the child has
		t.Error(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := canarySecrets(t)
	if _, err := s.Value(t.Context(), "KEY"); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Permits: []Permit{{Host: "example.com", Methods: []string{"GET"}, Secrets: []string{"KEY"}}}, Secrets: s})
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secrets", s, "client", c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secrets", s, "client", c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&log, verb+verb+verb, s, c, s.Scrubber())
	}
	if strings.Contains(log.String(), canary) || strings.Contains(log.String(), "Canary") {
		t.Errorf("printed: %s", log.String())
	}
}
