package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/rogpeppe/go-internal/testscript"
)

// canary env|file|command PLUGIN gives a plugin's provider a key of the story's own, which needs escaping wherever it is
// written: in the node's environment, in a file, or as what a command prints.
func cmdCanary(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "canary env|file|command PLUGIN", len(args) == 2)
	s := of(ts)
	s.canary, s.canaryIn = `canary/`+uuid.NewString()+`+"&<key>"`, "OPENAI_API_KEY"
	if chat, ok := chats[args[1]]; ok {
		s.canaryIn = chat.key
	}
	source := fmt.Sprintf("env = %q", s.canaryIn)
	if args[0] == "env" {
		ts.Setenv(s.canaryIn, s.canary)
	} else {
		ts.Setenv(s.canaryIn, "not this one")
		key := ts.MkAbs("key")
		ts.Check(os.WriteFile(key, []byte(s.canary+"\n"), 0o600))
		source = fmt.Sprintf("file = %q", key)
		if args[0] == "command" {
			source = fmt.Sprintf("command = [\"cat\", %q]", key)
		}
	}
	permits := filepath.Join(ts.Getenv("TOWPATH_PLUGINS"), args[1]+".toml")
	text, err := os.ReadFile(permits)
	ts.Check(err)
	wanted := regexp.MustCompile(`(?m)^(env = ".*|file = .*|command = \[.*)$`)
	ts.Check(os.WriteFile(permits, wanted.ReplaceAllLiteral(text, []byte(source)), 0o600))
}

// spellings are the ways in which somebody may have written the canary down.
func spellings(canary string) map[string][]byte {
	quoted, _ := json.Marshal(canary) // strings always marshal
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(quoted))
	all := map[string][]byte{
		"plain": []byte(canary), "JSON": quoted[1 : len(quoted)-1], "plain JSON": []byte(plain[1 : len(plain)-1]),
		"URL": []byte(url.QueryEscape(canary)), "path": []byte(url.PathEscape(canary)), "in part": []byte(canary[:min(20, len(canary))]),
	}
	for before := range 3 {
		// The characters that the canary alone decides, whatever stands before it and behind.
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, before), canary...))
		all[fmt.Sprintf("base64 at %d", before)] = []byte(encoded[(8*before+5)/6 : 8*(before+len(canary))/6])
	}
	for spelling, form := range maps.Clone(all) { // as a dump has what is stored as bytes, such as the journal
		all[spelling+" in hex"] = hex.AppendEncode(nil, form)
	}
	return all
}

// forms are the spellings of all that nobody may hold: the canary, and what the issuer of accounts has given.
func (s *script) forms() map[string]map[string][]byte {
	all := map[string]map[string][]byte{}
	if s.canary != "" {
		all["the key"] = spellings(s.canary)
	}
	for i, given := range s.provider.Given() {
		all[fmt.Sprintf("secret %d of the login", i)] = spellings(given)
	}
	return all
}

// clean fails the story when a text holds one of them.
func clean(ts *testscript.TestScript, what string, text []byte) {
	for secret, forms := range of(ts).forms() {
		for spelling, form := range forms {
			if bytes.Contains(text, form) {
				ts.Fatalf("%s holds %s (%s)", what, secret, spelling)
			}
		}
	}
}

// nokey NODE looks for the canary, and for all that a login has given: in what the kernel tells of every process, in the homes of the node's children, in the
// memory of its guests, in its log, and in a dump of the database.
func cmdNoKey(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, "nokey NODE", len(args) == 1)
	n := nodeOf(ts, args[0])
	if len(of(ts).forms()) == 0 {
		ts.Fatalf("there is no canary, and nobody has logged in")
	}
	files, err := filepath.Glob("/proc/[0-9]*/[ce][mn][dv][li]*") // cmdline and environ
	ts.Check(err)
	given := fmt.Sprintf("/proc/%d/environ", n.cmd.Process.Pid) // where canary env has put it
	for _, file := range files {
		if file == given && of(ts).canary != "" && ts.Getenv(of(ts).canaryIn) == of(ts).canary {
			continue
		}
		if text, err := os.ReadFile(file); err == nil { // or it has ended, or is not ours
			clean(ts, file, text)
		}
	}
	homes := 0
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || path == ts.MkAbs("key"):
			return nil // gone meanwhile, or where it belongs
		case d.IsDir() && strings.HasPrefix(d.Name(), "towpath-child-"):
			homes++
		case d.Type().IsRegular():
			if text, err := os.ReadFile(path); err == nil {
				clean(ts, path, text)
			}
		}
		return nil
	}))
	clean(ts, "the log", []byte(n.text()))
	dump, err := exec.Command("pg_dump", "--dbname", ts.Getenv("DATABASE_URL")).Output()
	ts.Check(err)
	for _, table := range []string{"towpath.journal", "towpath.event", "towpath.session_kv", "public.river_job"} {
		if !bytes.Contains(dump, []byte("COPY "+table+" (")) {
			ts.Fatalf("the dump has no %s", table)
		}
	}
	clean(ts, "the database", dump)
	memories := 0
	if !n.ended() {
		memories = cleanMemory(ts, n.cmd.Process.Pid)
	}
	fmt.Fprintf(ts.Stdout(), "homes %d, memories %d\n", homes, memories)
}

// cleanMemory looks through the linear memories of a node's guests, and returns how many there are.
func cleanMemory(ts *testscript.TestScript, pid int) (found int) {
	mapped, err := os.Open("/proc/" + strconv.Itoa(pid) + "/maps")
	if err != nil {
		return 0 // concealed from us too, who are not root
	}
	defer mapped.Close()
	memory, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
	ts.Check(err)
	defer memory.Close()
	var after uint64 // the end of a guest's memory so far; what begins there is more of it
	for lines := bufio.NewScanner(mapped); lines.Scan(); {
		var from, to uint64
		var rights string
		fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &rights)
		if image := strings.Contains(lines.Text(), "memfd:towpath-image"); !strings.HasPrefix(rights, "rw") || !image && from != after {
			continue
		} else if image && from != after {
			found++
		}
		after = to
		text := make([]byte, to-from)
		if n, _ := memory.ReadAt(text, int64(from)); n > 0 {
			clean(ts, "a guest's memory", text[:n])
		}
	}
	return found
}
