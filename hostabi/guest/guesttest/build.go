package guesttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/towpath/towpath/hostabi"
)

// Build compiles the plugin in a folder to a module, as an author would, and returns its bytes.
func Build(tb testing.TB, folder string) []byte {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "plugin.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", file, ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", folder, err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	if len(module) > hostabi.MaxModule {
		tb.Fatalf("build %s: module of %d bytes, the worker takes %d", folder, len(module), hostabi.MaxModule)
	}
	return module
}
