package embedded

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postgres.log")
	server, err := openLog(path) // the descriptor that the server keeps
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	line := []byte(strings.Repeat("x", 1022) + "\n")
	for range 2 {
		if _, err := server.Write(bytes.Repeat(line, logLimit/len(line)+2)); err != nil {
			t.Fatal(err)
		}
		if err := trimLog(path, logLimit); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.WriteString("after\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "after\n" {
		t.Errorf("the log holds %d bytes, %v", len(text), err)
	}
	if info, err := os.Stat(path + ".1"); err != nil || info.Size() != logLimit {
		t.Errorf("the earlier log: %v, %v", info, err)
	}
	if err := trimLog(path, logLimit); err != nil {
		t.Fatal(err)
	}
	if tail := logTail(path, 0); tail != "\n  after" {
		t.Errorf("the tail is %q", tail)
	}
	if tail := logTail(path, int64(len("after\n"))); tail != "" {
		t.Errorf("the tail of nothing new is %q", tail)
	}
}

func TestFoldersAreQuotedForASetting(t *testing.T) {
	for dir, want := range map[string]string{
		"/a": `"/a"`, "/a, b": `"/a, b"`, `/a"b`: `"/a""b"`,
	} {
		if got := quoteFolder(dir); got != want {
			t.Errorf("%s becomes %s, want %s", dir, got, want)
		}
	}
}

func FuzzPidFile(f *testing.F) {
	f.Add("4711\n/data\n1790000000\n5432\n/data/socket\n\n  5432001    163841\nready   \n")
	f.Add("4711\n/data\n1790000000\n")
	f.Add("")
	f.Add("-1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePidFile(text)
		if err == nil && p.pid < 2 { // 0 and -1 address whole groups, 1 is init
			t.Errorf("pid %d", p.pid)
		}
		if p.ready && !strings.Contains(text, "ready") {
			t.Error("ready out of nothing")
		}
	})
}
