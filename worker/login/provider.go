package login

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/worker/egress"
)

// Provider is who gives tokens: an issuer that knows OpenAI's device flow. It is safe for concurrent use.
type Provider struct {
	issuer   string
	clientID string
	client   *egress.Client
}

// New makes the provider that a permit file names.
func New(l egress.Login) (*Provider, error) {
	client, err := l.Client()
	if err != nil {
		return nil, err
	}
	return &Provider{issuer: l.Issuer, clientID: l.ClientID, client: client}, nil
}

// Issuer names the provider in the database.
func (p *Provider) Issuer() string { return p.issuer }

// Close closes idle connections.
func (p *Provider) Close() { p.client.Close() }

// Offer is what a person needs to log in by device.
type Offer struct {
	URL  string // where to go
	Code string // what to type in there

	deviceID string
	interval time.Duration // between polls
}

// tokens are what is kept of a login.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Account string `json:"account,omitempty"`
}

// refusal is an answer of the provider that is no success.
type refusal struct {
	status int
	code   string
}

func (r *refusal) Error() string {
	if r.code != "" {
		return fmt.Sprintf("status %d, %s", r.status, r.code)
	}
	return fmt.Sprintf("status %d", r.status)
}

// told reports whether the code says why there will be no tokens, or not yet; without, 403 and 404 are "not yet".
func (r *refusal) told() bool {
	return slices.Contains([]string{"access_denied", "expired_token", "slow_down"}, r.code)
}

const (
	minInterval = 100 * time.Millisecond
	maxInterval = time.Minute
)

// offer asks for a device code.
func (p *Provider) offer(ctx context.Context) (Offer, error) {
	var answer struct {
		DeviceID string          `json:"device_auth_id"`
		UserCode string          `json:"user_code"`
		Interval json.RawMessage `json:"interval"` // seconds, a number or a string
	}
	if err := p.post(ctx, "/api/accounts/deviceauth/usercode", map[string]string{"client_id": p.clientID}, &answer); err != nil {
		return Offer{}, err
	}
	if answer.DeviceID == "" || answer.UserCode == "" {
		return Offer{}, errors.New("the answer has no device code")
	}
	seconds, err := strconv.ParseFloat(strings.Trim(string(answer.Interval), `"`), 64)
	if err != nil {
		seconds = 5
	}
	every := time.Duration(seconds * float64(time.Second))
	return Offer{URL: p.issuer + "/codex/device", Code: answer.UserCode, deviceID: answer.DeviceID,
		interval: min(max(every, minInterval), maxInterval)}, nil
}

// poll asks whether the person has been there; false while not.
func (p *Provider) poll(ctx context.Context, o Offer) (tokens, time.Time, bool, error) {
	var grant struct {
		Code     string `json:"authorization_code"`
		Verifier string `json:"code_verifier"`
	}
	err := p.post(ctx, "/api/accounts/deviceauth/token", map[string]string{"device_auth_id": o.deviceID, "user_code": o.Code}, &grant)
	var refused *refusal
	if errors.As(err, &refused) && !refused.told() && (refused.status == http.StatusForbidden || refused.status == http.StatusNotFound) {
		return tokens{}, time.Time{}, false, nil
	}
	if err != nil {
		return tokens{}, time.Time{}, false, err
	}
	t, expires, err := p.tokens(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {grant.Code}, "client_id": {p.clientID},
		"redirect_uri": {p.issuer + "/deviceauth/callback"}, "code_verifier": {grant.Verifier}}, tokens{})
	return t, expires, err == nil, err
}

// renew changes a refresh token, which is worth nothing afterwards, for new tokens.
func (p *Provider) renew(ctx context.Context, old tokens) (tokens, time.Time, error) {
	return p.tokens(ctx, map[string]string{"grant_type": "refresh_token", "refresh_token": old.Refresh, "client_id": p.clientID,
		"scope": "openid profile email"}, old)
}

// tokens asks for tokens. What the answer leaves out stays as it was.
func (p *Provider) tokens(ctx context.Context, question any, old tokens) (tokens, time.Time, error) {
	var answer struct {
		tokens
		ID        string `json:"id_token"`
		ExpiresIn int64  `json:"expires_in"`
	}
	if err := p.post(ctx, "/oauth/token", question, &answer); err != nil {
		return tokens{}, time.Time{}, err
	}
	t := answer.tokens
	claims := claimsOf(t.Access)
	t.Account = ""
	for _, told := range []string{claimsOf(answer.ID).Auth.Account, claims.Auth.Account, old.Account} {
		if t.Account == "" {
			t.Account = told
		}
	}
	if t.Refresh == "" {
		t.Refresh = old.Refresh
	}
	if t.Access == "" {
		return tokens{}, time.Time{}, errors.New("the answer has no access token")
	}
	switch {
	case answer.ExpiresIn > 0:
		return t, time.Now().Add(time.Duration(answer.ExpiresIn) * time.Second), nil
	case claims.Expires > 0:
		return t, time.Unix(claims.Expires, 0), nil
	}
	return t, time.Time{}, nil
}

// claims are what a token says of itself. Nobody checks its signature here: it came from its issuer.
type claims struct {
	Expires int64 `json:"exp"`
	Auth    struct {
		Account string `json:"chatgpt_account_id"`
	} `json:"https://api.openai.com/auth"`
}

func claimsOf(token string) (c claims) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &c) != nil {
		return claims{}
	}
	return c
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 256 << 10

// post sends a form, or anything else as JSON, and reads the JSON of a success. No error repeats what either side said, but
// for the provider's name of an error.
func (p *Provider) post(ctx context.Context, at string, question, answer any) error {
	kind, body := "application/json", []byte(nil)
	if form, ok := question.(url.Values); ok {
		kind, body = "application/x-www-form-urlencoded", []byte(form.Encode())
	} else {
		var err error
		if body, err = json.Marshal(question); err != nil {
			return err
		}
	}
	resp, err := p.client.Open(ctx, hostabi.HTTPHead{Method: http.MethodPost, URL: p.issuer + at, Headers: map[string]string{"Content-Type": kind}}, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &refusal{resp.StatusCode, errorCode(text)}
	}
	if json.Unmarshal(text, answer) != nil {
		return errors.New("the answer is not what it should be")
	}
	return nil
}

// errorCode finds the word for an error in the forms that providers write: {"error":"x"}, {"error":{"code":"x"}}, {"code":"x"}.
func errorCode(text []byte) string {
	var outer struct {
		Error json.RawMessage `json:"error"`
		Code  string          `json:"code"`
	}
	if json.Unmarshal(text, &outer) != nil {
		return ""
	}
	var inner struct {
		Code string `json:"code"`
	}
	word := outer.Code
	if json.Unmarshal(outer.Error, &inner) == nil && inner.Code != "" {
		word = inner.Code
	} else {
		_ = json.Unmarshal(outer.Error, &word)
	}
	for _, c := range word {
		if c != '_' && (c < 'a' || c > 'z') {
			return "" // no word
		}
	}
	return word[:min(len(word), 64)]
}
