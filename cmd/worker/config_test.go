package main

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAFlagWinsOverAVariableOverTheDefault(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		flag string
		want time.Duration
	}{
		{"default", nil, "", 30 * time.Second},
		{"variable", []string{"TOWPATH_LEASE_TTL=5s"}, "", 5 * time.Second},
		{"empty variable", []string{"TOWPATH_LEASE_TTL="}, "", 30 * time.Second},
		{"flag", []string{"TOWPATH_LEASE_TTL=5s"}, "7s", 7 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			list := newSettings()
			for _, s := range list {
				if s.flag == "lease-ttl" && c.flag != "" {
					if err := s.Set(c.flag); err != nil {
						t.Fatal(err)
					}
				}
			}
			cfg, err := list.parse(c.env)
			if err != nil {
				t.Fatal(err)
			}
			if cfg.LeaseTTL != c.want {
				t.Errorf("lease ttl is %v, want %v", cfg.LeaseTTL, c.want)
			}
		})
	}
}

// -h is the whole configuration: a field that lacks a part of it would be missing there.
func TestEveryFieldHasAVariableAFlagAndAMeaning(t *testing.T) {
	seen := map[string]string{}
	for i, s := range newSettings() {
		if s.env == "" || s.flag == "" || s.help == "" {
			t.Errorf("field %s lacks a tag: env %q, flag %q, help %q", s.field, s.env, s.flag, s.help)
		}
		if s.env != strings.ToUpper(s.env) || s.flag != strings.ToLower(s.flag) {
			t.Errorf("field %s: env %q, flag %q", s.field, s.env, s.flag)
		}
		for _, name := range []string{s.env, s.flag} {
			if other := seen[name]; other != "" {
				t.Errorf("fields %s and %s share the name %q", other, s.field, name)
			}
			seen[name] = s.field
		}
		if field := reflect.TypeFor[config]().Field(i); field.Name != s.field {
			t.Errorf("setting %d is %s, field is %s", i, s.field, field.Name)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want size
		bad  bool
	}{
		{"0", 0, false},
		{"1048576", 1 << 20, false},
		{"512MiB", 512 << 20, false},
		{"2 GiB", 2 << 30, false},
		{"3GB", 3e9, false},
		{"64kB", 64000, false},
		{"", 0, true},
		{"-1", 0, true},
		{"1.5GiB", 0, true},
		{"GiB", 0, true},
		{"9999999999GiB", 0, true},
	} {
		var got size
		err := got.UnmarshalText([]byte(c.text))
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q is %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"512MiB", "0", "-1kB", " 7 GB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s size
		if err := s.UnmarshalText([]byte(text)); err == nil && s < 0 {
			t.Errorf("%q is negative: %d", text, s)
		}
	})
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"TTL", "TLL", 1}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q to %q is %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestThePoolIsBoundedUnlessTheURLDoesSo(t *testing.T) {
	for _, c := range []struct{ dsn, want string }{
		{"postgres://u:p%40ss@h:1/d?host=/a/b", "postgres://u:p%40ss@h:1/d?host=%2Fa%2Fb&pool_max_conns=9"},
		{"postgresql:///d", "postgresql:///d?pool_max_conns=9"},
		{"host=/a dbname=d", "host=/a dbname=d pool_max_conns=9"},
		{"postgres:///d?pool_max_conns=4", "postgres:///d?pool_max_conns=4"},
		{"", " pool_max_conns=9"},
	} {
		got, err := withMaxConns(c.dsn, 9)
		if err != nil || got != c.want {
			t.Errorf("%q becomes %q, %v; want %q", c.dsn, got, err, c.want)
		}
	}
	_, err := withMaxConns("postgres://u:pa%ss@h/d", 9)
	if err == nil || strings.Contains(err.Error(), "pa%ss") {
		t.Errorf("a URL that is none gives %v", err)
	}
}
