package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	ChildMain()
	if name := os.Getenv(attackVariable); name != "" {
		os.Exit(attacked(name))
	}
	var err error
	if sharedCache, err = os.MkdirTemp("", "engine-test-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(sharedCache)
		os.Exit(code)
	}))
}

var sharedCache string

var guests = struct {
	sync.Mutex
	built map[string][]byte
}{built: map[string][]byte{}}

// guest builds testdata/name as a plugin, or the folder that name is a path of.
func guest(t testing.TB, name string) []byte {
	t.Helper()
	guests.Lock()
	defer guests.Unlock()
	if b, ok := guests.built[name]; ok {
		return b
	}
	out, folder := filepath.Join(t.TempDir(), "guest.wasm"), name
	if !strings.Contains(name, "/") {
		folder = "./testdata/" + name
	}
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, folder)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build guest %s: %v\n%s", name, err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	guests.built[name] = b
	return b
}
