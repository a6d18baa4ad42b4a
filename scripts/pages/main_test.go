package main

import (
	"strings"
	"testing"
)

func TestAPageIsPlayed(t *testing.T) {
	for _, c := range []struct{ name, page, says string }{
		{"what it shows", "# A\n```sh\nx=1\necho one\n```\nthen\n```text\none\n```\n```sh\necho $x and two\n```\n```text\n1 and …\n```\n", ""},
		{"any lines", "```sh\nseq 5\n```\n```text\n1\n…\n5\n```\n", ""},
		{"nothing shown", "```sh\necho whatever\n```\n", ""},
		{"other blocks are not run", "```sh\ntrue\n```\n```sql\nfalse\n```\n", ""},
		{"another output", "```sh\necho two\n```\n```text\none\n```\n", "block 1 prints"},
		{"part of a line", "```sh\necho took 3 ms; echo end\n```\n```text\ntook … ms\nend\n```\n", ""},
		{"too much", "```sh\nseq 2\n```\n```text\n1…\n```\n", "block 1 prints"},
		{"a failure", "```sh\ntrue\n```\n```sh\necho oh; exit 3\n```\n", "block 2 ends with exit status 3"},
		{"nothing to do", "# A\n", "no block"},
	} {
		err := play(c.page)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
