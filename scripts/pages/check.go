package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	runBy  = regexp.MustCompile(`(?m)^<!-- run by (\S+) -->$`)
	notRun = regexp.MustCompile(`^<!-- not run: \S.* -->$`)
	// allNotRun is for a page whose blocks are all of one sort.
	allNotRun = regexp.MustCompile(`(?m)^<!-- no block is run: \S.* -->$`)
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading   = regexp.MustCompile(`^#+ +(.*)$`)
	span      = regexp.MustCompile("`[^`]*`")
)

// check says what is wrong with a page below root: a block of commands that is neither run by the script that the page
// names nor said why it is not, or a link to what is not there.
func check(root, page string) (problems []string) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return []string{err.Error()}
	}
	say := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s:%d: ", page, line+1)+fmt.Sprintf(format, args...))
	}
	run := false
	if m := runBy.FindSubmatch(text); m != nil {
		script, err := os.ReadFile(filepath.Join(root, string(m[1])))
		if run = err == nil && strings.Contains(string(script), page); !run {
			say(0, "%s does not run this page", m[1])
		}
	}
	excused := allNotRun.Match(text)
	inside, before := false, ""
	for n, line := range strings.Split(string(text), "\n") {
		language, fenced := strings.CutPrefix(line, "```")
		switch {
		case fenced && inside:
			inside = false
		case fenced:
			inside = true
			switch {
			case language == "":
				say(n, "a block without a language: text for what is no command")
			case language == "text" || excused || notRun.MatchString(before):
			case language != "sh" || !run:
				say(n, "nobody runs this block: write <!-- not run: why --> above it, or have a script play the page")
			}
		case !inside:
			for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(line, ""), -1) {
				if err := follow(root, page, m[1]); err != nil {
					say(n, "%v", err)
				}
			}
		}
		before = line
	}
	return problems
}

// follow looks for what a link of a page names, if that is a file of this repository.
func follow(root, page, to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	if u.Scheme != "" {
		return nil
	}
	file := page
	if u.Path != "" {
		file = filepath.Join(filepath.Dir(page), u.Path)
	}
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		if info, statErr := os.Stat(filepath.Join(root, file)); statErr == nil && info.IsDir() {
			return nil
		}
		return fmt.Errorf("%s leads nowhere", to)
	}
	if u.Fragment == "" {
		return nil
	}
	for _, line := range strings.Split(string(text), "\n") {
		if m := heading.FindStringSubmatch(line); m != nil && anchor(m[1]) == u.Fragment {
			return nil
		}
	}
	return fmt.Errorf("%s: there is no such heading", to)
}

// anchor is what a heading is linked by.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteRune('-')
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
			b.WriteRune(r)
		}
	}
	return b.String()
}
