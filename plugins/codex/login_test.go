package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/examples/standin"
)

// The stand-in's issuer is shaped as OpenAI's: the real codex logs in there by device code, by the very requests that the
// worker's own login makes.
func TestCodexLogsInAtTheStandIn(t *testing.T) {
	if os.Getenv("TOWPATH_TEST_CODEX") == "" {
		t.Skip("needs codex: make codex")
	}
	path, err := program()
	if err != nil {
		t.Fatalf("scripts/codex.sh: %v", err)
	}
	issuer := standin.New(standin.Options{})
	server := httptest.NewServer(issuer)
	defer server.Close()
	defer server.CloseClientConnections()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), path, append(append([]string{}, arguments...), "-c", fmt.Sprintf("chatgpt_base_url=%q", server.URL+"/backend-api"))...)
	cmd.Dir = home
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + home, "CODEX_HOME=" + home, "CODEX_APP_SERVER_LOGIN_ISSUER=" + server.URL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(in, `{"id":1,"method":"initialize","params":{"clientInfo":{"name":"towpath","title":"T","version":"1"},"capabilities":{"experimentalApi":true}}}`)
	fmt.Fprintln(in, `{"method":"initialized"}`)
	fmt.Fprintln(in, `{"id":2,"method":"account/login/start","params":{"type":"chatgptDeviceCode"}}`)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			ID     int
			Method string
			Result struct{ VerificationURL, UserCode string }
			Error  json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if m.ID == 2 {
			if m.Result.VerificationURL != server.URL+"/codex/device" || !issuer.Approve(m.Result.UserCode) {
				t.Fatalf("%s", lines.Bytes())
			}
		}
		if m.Method == "account/login/completed" {
			t.Logf("%s", lines.Bytes()) // not a success: the stand-in has no workspaces to route to; the tokens are there all the same
			break
		}
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	auth, err := os.ReadFile(filepath.Join(home, "auth.json"))
	if err != nil || !strings.Contains(string(auth), "refresh-1-canary") || !strings.Contains(string(auth), standin.Account) {
		t.Errorf("auth.json: %d bytes, %v", len(auth), err)
	}
}
