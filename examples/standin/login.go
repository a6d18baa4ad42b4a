package standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Account is what the stand-in's tokens are for.
const Account = "account-5f1e"

// issuer plays who gives an account's tokens, by device code and by refresh token, each of which it takes once.
type issuer struct {
	mu       sync.Mutex
	devices  map[string]*device // by device_auth_id
	count    int                // of tokens
	access   string             // that the door takes; "" when it was revoked
	refresh  string             // that is worth a new one
	given    []string           // every token and device id so far
	down     int                // answers that are still to be 503
	renewals int
	reused   bool
}

type device struct {
	user     string
	approved bool
	denied   bool
	spent    bool
}

// Approve is the person who types in a user code. It is false for one that nobody asked for.
func (s *Server) Approve(user string) bool {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	for _, d := range s.issuer.devices {
		if d.user == user {
			d.approved = true
			return true
		}
	}
	return false
}

// Deny is the person who says no to a user code. It is false for one that nobody asked for.
func (s *Server) Deny(user string) bool {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	for _, d := range s.issuer.devices {
		if d.user == user {
			d.denied = true
			return true
		}
	}
	return false
}

// Revoke makes the present access token worthless, as if it had ended.
func (s *Server) Revoke() {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.access = ""
}

// Forget makes the present refresh token worthless, as if the account had logged out everywhere.
func (s *Server) Forget() {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.refresh = ""
}

// Trouble answers the next n requests for tokens, and questions whether a person has been there, with 503.
func (s *Server) Trouble(n int) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.down = n
}

// Given is everything secret that the issuer has handed out: tokens, and what stands for a device.
func (s *Server) Given() []string {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return slices.Clone(s.issuer.given)
}

// Renewals is how often a refresh token was taken.
func (s *Server) Renewals() int {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return s.issuer.renewals
}

// Reused reports whether a refresh token came twice, which a real issuer punishes.
func (s *Server) Reused() bool {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return s.issuer.reused
}

func (s *Server) serveLogins() {
	s.issuer.devices = map[string]*device{}
	s.mux.HandleFunc("POST /api/accounts/deviceauth/usercode", s.issuer.begin)
	s.mux.HandleFunc("POST /api/accounts/deviceauth/token", s.issuer.polled)
	s.mux.HandleFunc("POST /oauth/token", func(w http.ResponseWriter, r *http.Request) { s.issuer.tokens(w, r, s.options.TokenTTL) })
	s.mux.HandleFunc("POST /backend-api/codex/responses", func(w http.ResponseWriter, r *http.Request) {
		s.respond(w, r, s.issuer.lets(r))
	})
	s.mux.HandleFunc("POST /standin/approve/{user}", func(w http.ResponseWriter, r *http.Request) {
		if !s.Approve(r.PathValue("user")) {
			http.Error(w, "nobody asked for that code", http.StatusNotFound)
		}
	})
	s.mux.HandleFunc("POST /standin/revoke", func(http.ResponseWriter, *http.Request) { s.Revoke() })
}

// lets reports whether the account's door opens for a request.
func (i *issuer) lets(r *http.Request) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.access != "" && r.Header.Get("Authorization") == "Bearer "+i.access && r.Header.Get("Chatgpt-Account-Id") == Account
}

func (i *issuer) begin(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		ClientID string `json:"client_id"`
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.ClientID == "" {
		answer(w, 400, map[string]any{"error": "invalid_client"})
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.devices) + 1
	id, user := fmt.Sprintf("device-%d-very-private", n), fmt.Sprintf("ABCD-%04d", n)
	i.devices[id], i.given = &device{user: user}, append(i.given, id)
	answer(w, 200, map[string]any{"device_auth_id": id, "user_code": user, "interval": "0"})
}

func (i *issuer) polled(w http.ResponseWriter, r *http.Request) {
	var asked struct {
		Device string `json:"device_auth_id"`
		User   string `json:"user_code"`
	}
	_ = json.NewDecoder(r.Body).Decode(&asked)
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.devices[asked.Device]
	if i.down > 0 {
		i.down--
		answer(w, 503, map[string]any{"error": "temporarily_unavailable"})
		return
	}
	if d != nil && d.denied {
		answer(w, 403, map[string]any{"error": map[string]any{"code": "access_denied"}})
		return
	}
	if d == nil || d.user != asked.User || d.spent || !d.approved {
		answer(w, 403, map[string]any{"error": map[string]any{"code": "deviceauth_authorization_unknown"}})
		return
	}
	d.spent = true
	answer(w, 200, map[string]any{"authorization_code": "code-of-" + asked.Device, "code_challenge": "challenge", "code_verifier": "verifier-of-" + asked.Device})
}

// tokens answers a form for a new login and JSON for a renewal.
func (i *issuer) tokens(w http.ResponseWriter, r *http.Request, ttl time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down > 0 {
		i.down--
		answer(w, 503, map[string]any{"error": "temporarily_unavailable"})
		return
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		device := strings.TrimPrefix(r.FormValue("code"), "code-of-")
		if r.FormValue("grant_type") != "authorization_code" || i.devices[device] == nil || !strings.HasSuffix(r.FormValue("redirect_uri"), "/deviceauth/callback") ||
			r.FormValue("code_verifier") != "verifier-of-"+device {
			answer(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		i.give(w, ttl)
		return
	}
	var asked struct {
		Grant   string `json:"grant_type"`
		Refresh string `json:"refresh_token"`
	}
	if json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Grant != "refresh_token" {
		answer(w, 400, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	if asked.Refresh != i.refresh || i.refresh == "" {
		i.reused = i.reused || i.refresh != ""
		answer(w, 401, map[string]any{"error": map[string]any{"code": "refresh_token_reused"}})
		return
	}
	i.renewals++
	i.give(w, ttl)
}

// give makes new tokens the only ones. A time to live of 0 is ten days, as OpenAI's.
func (i *issuer) give(w http.ResponseWriter, ttl time.Duration) {
	if ttl == 0 {
		ttl = 240 * time.Hour
	}
	i.count++
	claims := map[string]any{"exp": time.Now().Add(ttl).Unix(), "jti": i.count, "https://api.openai.com/auth": map[string]any{"chatgpt_account_id": Account, "chatgpt_plan_type": "plus"}}
	i.access = token("access", claims)
	i.refresh = fmt.Sprintf("refresh-%d-canary", i.count)
	id := token("id", claims)
	i.given = append(i.given, i.access, i.refresh, id)
	answer(w, 200, map[string]any{"id_token": id, "access_token": i.access, "refresh_token": i.refresh})
}

// token looks like a JSON Web Token; nobody has signed it.
func token(kind string, claims any) string {
	head, _ := json.Marshal(map[string]any{"alg": "none", "typ": "JWT"})
	body, _ := json.Marshal(claims)
	code := base64.RawURLEncoding.EncodeToString
	return code(head) + "." + code(body) + "." + code([]byte(kind+"-canary"))
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
