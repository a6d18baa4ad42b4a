// Command pages does what a page of the documents says: it runs the blocks marked sh, in one shell from top to bottom in
// the current folder, and compares what each prints with the block marked text that follows it.
//
//	pages docs/quickstart.md …
//
// In a text block … stands for anything, within a line or as a line of its own for any lines.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

func main() {
	failed := 0
	for _, name := range os.Args[1:] {
		text, err := os.ReadFile(name)
		if err == nil {
			err = play(string(text))
		}
		if err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		}
	}
	fmt.Printf("pages: %d passed, %d failed\n", len(os.Args)-1-failed, failed)
	if failed > 0 || len(os.Args) == 1 {
		os.Exit(1)
	}
}

// block is one command block and what the page says it prints.
type block struct {
	commands string
	shown    *string
}

var fence = regexp.MustCompile("(?ms)^```(sh|text)\n(.*?)^```$")

func blocks(page string) []block {
	var list []block
	for _, m := range fence.FindAllStringSubmatch(page, -1) {
		if m[1] == "sh" {
			list = append(list, block{commands: m[2]})
		} else if len(list) > 0 {
			list[len(list)-1].shown = &m[2]
		}
	}
	return list
}

// mark ends the output of a block: a character that no command prints.
const mark = "\x1e"

func play(page string) error {
	list := blocks(page)
	if len(list) == 0 {
		return fmt.Errorf("there is no block marked sh")
	}
	var script strings.Builder
	script.WriteString("set -eu\nstop() { for p in $(jobs -p); do kill $p 2>/dev/null || true; done; wait; }\ntrap stop EXIT\n")
	for _, b := range list {
		script.WriteString(b.commands + "\nprintf '" + mark + "'\n")
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	parts := strings.Split(string(out), mark)
	if err != nil {
		return fmt.Errorf("block %d ends with %w:\n%s%s", len(parts), err, list[min(len(parts), len(list))-1].commands, parts[len(parts)-1])
	}
	for i, b := range list {
		if b.shown != nil && !matches(*b.shown, parts[i]) {
			return fmt.Errorf("block %d prints\n%s\nthe page shows\n%s", i+1, parts[i], *b.shown)
		}
	}
	return nil
}

// matches compares output with what a page shows of it.
func matches(shown, printed string) bool {
	pattern := regexp.QuoteMeta(strings.TrimSpace(shown))
	pattern = regexp.MustCompile(`(?m)^…$`).ReplaceAllString(pattern, `(?s:.*)`)
	pattern = strings.ReplaceAll(pattern, "…", `[^\n]*`)
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(printed))
}
