package sql_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/towpath/towpath/sql"
)

var publish = flag.Bool("publish", false, "add what is new to published.txt, from when on it stays")

// A database out there has what was published under a number and takes nothing else under that number: functions that
// change need the next Version, tables a new migration.
func TestWhatIsPublishedStays(t *testing.T) {
	const path = "published.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, functions := sql.Functions("public")
	present := map[string]string{fmt.Sprintf("functions %d", sql.Version): functions}
	added := []string{fmt.Sprintf("functions %d", sql.Version)}
	for _, m := range sql.Migrations() {
		name := fmt.Sprintf("migration %d", m.Version)
		present[name], added = m.Checksum, append(added, name)
	}
	published := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(string(text))); lines.Scan(); {
		var kind, digest string
		var number int
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if n, err := fmt.Sscanf(lines.Text(), "%s %d %s", &kind, &number, &digest); n != 3 || err != nil {
			t.Fatalf("%s: %q is no line (%v)", path, lines.Text(), err)
		}
		name := fmt.Sprintf("%s %d", kind, number)
		if published[name] != "" {
			t.Errorf("%s has two lines of %s", path, name)
		}
		published[name] = digest
		switch now, there := present[name]; {
		case kind == "functions" && number > sql.Version:
			t.Errorf("version %d of the functions is published, and Version in embed.go is %d: raise it", number, sql.Version)
		case kind == "functions" && there && now != digest:
			t.Errorf("functions, river or roles.sql have changed since version %d was published: raise Version in embed.go to %d", number, number+1)
		case kind == "migration" && now != digest:
			t.Errorf("migration %d has changed since it was published: put it back, and write migration %d for what is new", number, len(sql.Migrations())+1)
		}
	}
	if len(published) == 0 {
		t.Errorf("%s is empty", path)
	}
	if !*publish || t.Failed() {
		return
	}
	for _, name := range added {
		if published[name] == "" {
			text = fmt.Appendf(text, "%s %s\n", name, present[name])
		}
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}
