package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// account approve CODE | deny CODE | revoke | forget | trouble N | serves | codex: what happens at the issuer of accounts, which is the story's
// stand-in. serves sets ISSUER to where it is; codex lets codex ask with an account there.
func cmdAccount(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "account approve CODE | deny CODE | revoke | forget | trouble N | serves | codex", len(args) > 0)
	p := of(ts).provider
	switch {
	case args[0] == "approve" && len(args) == 2:
		if !p.Approve(args[1]) {
			ts.Fatalf("nobody asked for code %s", args[1])
		}
	case args[0] == "deny" && len(args) == 2:
		if !p.Deny(args[1]) {
			ts.Fatalf("nobody asked for code %s", args[1])
		}
	case args[0] == "revoke":
		p.Revoke()
	case args[0] == "forget":
		p.Forget()
	case args[0] == "trouble" && len(args) == 2:
		var n int
		_, err := fmt.Sscan(args[1], &n)
		ts.Check(err)
		p.Trouble(n)
	case args[0] == "serves":
		server := httptest.NewServer(p)
		ts.Defer(func() {
			server.CloseClientConnections()
			server.Close()
		})
		ts.Setenv("ISSUER", server.URL)
		ts.Setenv("DOOR", server.Listener.Addr().String())
	case args[0] == "codex":
		withAccount(ts)
	default:
		ts.Fatalf("account %v", args)
	}
	if p.Reused() {
		ts.Fatalf("a refresh token came twice")
	}
}

// accountPermits let codex ask with an account in place of a key, as plugins/codex/chatgpt.toml does.
const accountPermits = `[login]
issuer = "%[1]s"
client_id = "app_of_the_test"
private = true

[secrets.CHATGPT_TOKEN]
login = "access_token"

[secrets.CHATGPT_ACCOUNT]
login = "account"

[[http]]
host = "%[1]s"
methods = ["POST"]
secrets = ["CHATGPT_TOKEN", "CHATGPT_ACCOUNT"]
private = true

[[proc]]
name = "codex"
command = "%[2]s"
args = ["app-server", "--listen", "stdio://", "*"]

[proc.broker]
url = "%[1]s/backend-api/codex"
secret = "CHATGPT_TOKEN"
headers = { chatgpt-account-id = "{{secret:CHATGPT_ACCOUNT}}" }

[limits]
memory_mb = 256

[config]
model = "standin"
sandbox = "danger-full-access"
`

// withAccount permits codex an account at the story's issuer.
func withAccount(ts *testscript.TestScript) {
	program, err := codexProgram()
	ts.Check(err)
	text := fmt.Sprintf(accountPermits, ts.Getenv("ISSUER"), program)
	ts.Check(os.WriteFile(filepath.Join(ts.Getenv("TOWPATH_PLUGINS"), "codex.toml"), []byte(text), 0o600))
}
