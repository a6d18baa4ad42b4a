package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// aimock FIXTURES puts a provider that others have made in the place of the stand-in, for all plugins that are there.
func cmdAimock(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "aimock FIXTURES", len(args) == 1)
	program, err := exec.Command("../../scripts/aimock.sh").Output()
	ts.Check(err)
	cmd := exec.Command("node", strings.TrimSpace(string(program)), "--port", "0", "--strict", "--log-level", "info", "--fixtures", ts.MkAbs(args[0]))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = cmd.Stdout
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-ended
		_ = cmd.Wait()
	})
	address := make(chan string, 1)
	go func() {
		defer close(ended)
		defer close(address)
		for lines, told := bufio.NewScanner(out), false; lines.Scan(); {
			if _, at, found := strings.Cut(lines.Text(), "listening on http://"); found && !told {
				told = true
				address <- strings.TrimSpace(at)
			}
		}
	}()
	at := <-address
	if at == "" {
		ts.Fatalf("aimock did not start")
	}
	files, err := filepath.Glob(filepath.Join(ts.Getenv("TOWPATH_PLUGINS"), "*.toml"))
	ts.Check(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		ts.Check(err)
		text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAll(text, []byte(at))
		text = regexp.MustCompile(`(base_url = "http://[^"/]*)"`).ReplaceAll(text, []byte(`$1/v1"`))
		ts.Check(os.WriteFile(file, text, 0o600))
	}
}
