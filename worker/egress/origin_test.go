package egress

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestOneSpellingPerPlace(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.example.com/v1?a=b":        "https://api.example.com",
		"HTTPS://API.Example.COM:443/":          "https://api.example.com",
		"https://api.example.com:8443":          "https://api.example.com:8443",
		"http://service_a:80":                   "http://service_a",
		"https://bücher.example":                "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example":         "https://xn--bcher-kva.example",
		"https://EXAMPLE\u3002com":              "https://example.com",
		"https://192.0.2.1":                     "https://192.0.2.1",
		"https://[2001:DB8:0::1]:443":           "https://[2001:db8::1]",
		"https://[::ffff:127.0.0.1]/":           "https://127.0.0.1",
		"https://\uff11\uff12\uff17.0.0.1/":     "https://127.0.0.1",
		"https://api.example.com/a%20b#section": "https://api.example.com",
	} {
		u, o, err := parseURL(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if o.String() != want {
			t.Errorf("%s goes to %s, want %s", raw, o, want)
		}
		if u.Host != o.authority() || u.Fragment != "" {
			t.Errorf("%s is sent as %s", raw, u)
		}
	}
}

func TestURLsThatAreRefused(t *testing.T) {
	for _, raw := range []string{
		"", "/relative", "//api.example.com", "ftp://api.example.com", "file:///etc/passwd", "gopher://x", "https:api.example.com",
		"https://", "https:///path", "https://:443",
		"https://user@api.example.com", "https://user:pass@api.example.com", "https://@api.example.com",
		"https://api.example.com@evil.example", "https://api.example.com:443@evil.example",
		"https://api.example.com.", "https://a..b", "https://.a", "https://-a.b", "https://a-.b", "https://*.example.com",
		"https://api.example.com:", "https://api.example.com:0", "https://api.example.com:65536", "https://api.example.com:0443", "https://api.example.com:+443",
		"https://2130706433", "https://0x7f000001", "https://0x7f.0.0.1", "https://0177.0.0.1", "https://127.1", "https://127.0.1",
		"https://127.0.0.01", "https://127.0.0.1.", "https://1.2.3.4.5", "https://256.1.1.1", "https://127.0.0.0x1", "https://0x", "https://1.2.3.",
		"https://[::1", "https://::1", "https://[127.0.0.1]", "https://[fe80::1%25eth0]", "https://[fe80::1%eth0]", "https://[::1]x", "https://[v1.x]",
		"https://api.example.com%2eevil.example", "https://api%00.example.com", "https://api.example.com\\@evil.example",
		"https://api.example.com\r\nHost: evil", "https://api.example.com/a b", "https://api.example.com/?a\nb", "https://api.example.com/?é",
		"https://a b", "https://\xff.example", "https://xn--a.example", "https://" + strings.Repeat("a", 64) + ".example",
		"https://" + strings.Repeat("a.", 127) + "example", "https://api.example.com/" + strings.Repeat("a", maxURL),
	} {
		if _, o, err := parseURL(raw); err == nil {
			if strings.Contains(raw, "/a b") {
				continue // a space in a path is escaped on the way out
			}
			t.Errorf("%.60q is accepted and goes to %s", raw, o)
		}
	}
}

func TestURLErrorsDoNotRepeatTheURL(t *testing.T) {
	_, _, err := parseURL("https://[::1/?token=sk-very-secret")
	if err == nil || strings.Contains(err.Error(), "sk-very-secret") {
		t.Errorf("error is %v", err)
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"https://api.example.com/v1?a=b#c", "http://[::1]:8080", "https://0x7f.1", "https://bücher.example:444", "https://a@b", "https://1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, o, err := parseURL(raw)
		if err != nil {
			return
		}
		if o.scheme != "https" && o.scheme != "http" || o.port == 0 {
			t.Fatalf("%q goes to %+v", raw, o)
		}
		// What is sent reads back as the same place, by us and by the standard library.
		u2, o2, err := parseURL(u.String())
		if err != nil || o2 != o || u2.String() != u.String() {
			t.Fatalf("%q is sent as %q, which reads as %v (%v)", raw, u, o2, err)
		}
		std, err := url.Parse(u.String())
		if err != nil || std.Hostname() != o.host || std.User != nil {
			t.Fatalf("%q is sent as %q, which the standard library reads as %v", raw, u, std)
		}
		if strings.ContainsFunc(u.String(), func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			t.Fatalf("%q is sent as %q", raw, u)
		}
		if a, err := netip.ParseAddr(o.host); err == nil {
			if a.Is4In6() || a.Zone() != "" || a.String() != o.host {
				t.Fatalf("%q has the address %s in another form", raw, o.host)
			}
			return
		}
		if last := o.host[strings.LastIndexByte(o.host, '.')+1:]; last == "" || last[0] >= '0' && last[0] <= '9' && numeric(last) {
			t.Fatalf("%q has the ambiguous host %s", raw, o.host)
		}
	})
}
