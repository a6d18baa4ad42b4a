package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every command that a page shows is run, or the page says why it is not; every link leads somewhere.
func TestEveryPageHolds(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "deploy/*.md", "examples/*/*.md", "plugins/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			page, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			seen++
			for _, problem := range check(root, filepath.ToSlash(page)) {
				t.Error(problem)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d pages were found", seen)
	}
}

func TestWhatIsWrongWithAPage(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{"play.sh": "pages docs/a.md\n", "docs/other.md": "# One & two\n", "docs/sub/x.md": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, page, says string }{
		{"a page that is run", "<!-- run by play.sh -->\n```sh\ntrue\n```\n```text\nx\n```\n", ""},
		{"a page that nobody runs", "```sh\ntrue\n```\n", "docs/a.md:1: nobody runs this block"},
		{"a script that is not there", "<!-- run by other.sh -->\n", "other.sh does not run this page"},
		{"a block with a reason", "<!-- not run: it needs a key -->\n```sh\ntrue\n```\n", ""},
		{"a block without one", "<!-- not run: -->\n```sh\ntrue\n```\n", "nobody runs this block"},
		{"another language", "<!-- run by play.sh -->\n```sql\nselect\n```\n", "docs/a.md:2: nobody runs this block"},
		{"a page of signatures", "<!-- no block is run: signatures -->\n```sql\nf()\n```\n", ""},
		{"no language", "```\ntrue\n```\n", "without a language"},
		{"links", "[a](other.md) [b](other.md#one--two) [c](sub) [d](https://example.org/x) [e](#here)\n# Here\n`[f](no)`\n", ""},
		{"a lost page", "[a](gone.md)\n", "gone.md leads nowhere"},
		{"a lost heading", "[a](other.md#three)\n", "no such heading"},
	} {
		if err := os.WriteFile(filepath.Join(root, "docs", "a.md"), []byte(c.page), 0o600); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(check(root, "docs/a.md"), "\n")
		if c.says == "" && got != "" || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
