package profiles

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Report is what a profile's module requests beside what its operator permits.
type Report struct {
	Name, Version, Digest, File string

	Lines    []Line
	Settings []Setting
}

// Line is one thing that is requested, permitted, or both.
type Line struct {
	What      string // as in `http api.example.com`
	Requested string // "" when the module does not ask for it
	Permitted string // "" when the operator does not permit it
	Missing   bool   // less is permitted than requested
}

// Report gives the profiles that are served, by name.
func (r *Registry) Report() []Report {
	var all []Report
	for _, name := range r.Names() {
		if p, err := r.Get(name); err == nil { // it may have gone since
			all = append(all, p.report())
			p.Release()
		}
	}
	return all
}

// NewReport compares what a module requests with a permit text, for who has not loaded the module. from names the text in
// errors.
func NewReport(name, digest string, manifest hostabi.Manifest, from string, text []byte) (Report, error) {
	permits, err := ParsePermits(from, text)
	if err != nil {
		return Report{}, err
	}
	client, secrets, err := permits.network()
	if err != nil {
		return Report{}, err
	}
	defer client.Close()
	p := Profile{Name: name, Digest: digest, Manifest: manifest, Permits: permits, Egress: client, Secrets: secrets, file: file{path: from}}
	return p.report(), nil
}

func (p *Profile) report() Report {
	return Report{
		Name: p.Name, Version: p.Manifest.Version, Digest: p.Digest, File: p.source(),
		Lines:    slices.Concat(p.httpLines(), p.procLines(), p.limitLines()),
		Settings: p.Permits.Limits.Settings(),
	}
}

func (p *Profile) httpLines() []Line {
	var lines []Line
	asked := make(map[string]bool) // permits by their host
	for _, want := range p.Manifest.HTTP {
		l := Line{What: "http " + want.Host, Requested: rights(want.Methods, want.Secrets), Missing: true}
		if have, ok := p.Egress.Permitted(want.Host); ok {
			asked[have.Host] = true
			l.Permitted = rights(have.Methods, have.Secrets)
			l.Missing = !within(want.Methods, have.Methods) || !within(want.Secrets, have.Secrets)
		}
		lines = append(lines, l)
	}
	for _, have := range p.Permits.HTTP {
		if !asked[have.Host] {
			lines = append(lines, Line{What: "http " + have.Host, Permitted: rights(have.Methods, have.Secrets)})
		}
	}
	return lines
}

func (p *Profile) procLines() []Line {
	var lines []Line
	for _, want := range p.Manifest.Proc {
		l := Line{What: "proc " + want.Name, Requested: rights([]string{"run"}, want.Secrets), Missing: true}
		if have, err := p.Proc(want.Name); err == nil {
			l.Permitted = rights([]string{command(have)}, have.Secrets)
			l.Missing = !within(want.Secrets, have.Secrets)
		}
		lines = append(lines, l)
	}
	for _, have := range p.Permits.Proc {
		if !slices.ContainsFunc(p.Manifest.Proc, func(want hostabi.ProcRequest) bool { return want.Name == have.Name }) {
			lines = append(lines, Line{What: "proc " + have.Name, Permitted: rights([]string{command(have)}, have.Secrets)})
		}
	}
	return lines
}

func (p *Profile) limitLines() []Line {
	var lines []Line
	limits := p.Permits.Limits
	if want := int64(p.Manifest.MemoryMB); want > 0 {
		have := limits.Memory / mb
		lines = append(lines, Line{"memory", fmt.Sprintf("%d MB", want), fmt.Sprintf("%d MB", have), want > have})
	}
	if p.Manifest.TurnS > 0 {
		want := time.Duration(p.Manifest.TurnS) * time.Second
		lines = append(lines, Line{"turn", want.String(), limits.Turn.String(), want > limits.Turn})
	}
	return lines
}

func command(p Proc) string { return strings.Join(append([]string{p.Command}, p.Args...), " ") }

// rights writes what may be done, and with which secrets.
func rights(what, secrets []string) string {
	s := strings.Join(what, " ")
	if s == "" {
		s = "any method"
	}
	if len(secrets) > 0 {
		s += " with " + strings.Join(secrets, " ")
	}
	return s
}

func within(want, have []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(have, w) })
}
