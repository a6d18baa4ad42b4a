package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestWithCodex plays the stories of testdata/codex, in which turns of profile codex drive the real program.
func TestWithCodex(t *testing.T) {
	if os.Getenv("TOWPATH_TEST_CODEX") == "" {
		t.Skip("needs codex: make codex")
	}
	playScripts(t, "testdata/codex")
}

// codexProgram is the real codex, installed when it is missing.
var codexProgram = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../../scripts/codex.sh").Output()
	return strings.TrimSpace(string(out)), err
})

// codexPermits are those of the tests' codex: its provider is the stand-in, and what the model runs is not confined,
// so that it may look for the key wherever a process of ours can look.
const codexPermits = `[[http]]
host = "%[1]s"
methods = ["POST"]
secrets = ["OPENAI_API_KEY"]
private = true

[secrets.OPENAI_API_KEY]
env = "OPENAI_API_KEY"

[[proc]]
name = "codex"
command = "%[2]s"
args = ["app-server", "--listen", "stdio://", "*"]

[proc.broker]
url = "http://%[1]s/v1"
secret = "OPENAI_API_KEY"

[limits]
memory_mb = 256

[config]
model = "standin"
sandbox = "danger-full-access"
approval_policy = "untrusted"
`

// codexPlugin permits the codex of the tests.
func codexPlugin(ts *testscript.TestScript, folder string) {
	program, err := codexProgram()
	ts.Check(err)
	provider := httptest.NewServer(of(ts).provider)
	ts.Defer(func() {
		provider.CloseClientConnections()
		provider.Close()
	})
	text := fmt.Sprintf(codexPermits, provider.Listener.Addr(), program)
	ts.Check(os.WriteFile(filepath.Join(folder, "codex.toml"), []byte(text), 0o600))
}

// codex puts the real codex into the path of what the story starts from now on.
func cmdCodex(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "codex", len(args) == 0)
	program, err := codexProgram()
	ts.Check(err)
	ts.Setenv("PATH", filepath.Dir(program)+string(filepath.ListSeparator)+ts.Getenv("PATH"))
}
