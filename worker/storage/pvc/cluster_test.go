package pvc

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// api answers as the API of a cluster does, for one namespace and its claims, and keeps what was asked.
type api struct {
	claims map[string]json.RawMessage
	asked  []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const claims = "/api/v1/namespaces/agents/persistentvolumeclaims"
	a.asked = append(a.asked, r.Method+" "+r.URL.RequestURI())
	w.Header().Set("Content-Type", "application/json")
	name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, claims), "/")
	switch {
	case r.URL.Path == "/api/v1/namespaces/agents":
		fmt.Fprint(w, `{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "agents", "uid": "u1"}}`)
	case r.URL.Path == claims && r.Method == "POST":
		var claim corev1.PersistentVolumeClaim
		var raw json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&raw); err != nil || json.Unmarshal(raw, &claim) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.claims[claim.Name] = raw
		w.WriteHeader(http.StatusCreated)
		w.Write(raw)
	case r.URL.Path == claims:
		items := []json.RawMessage{}
		for _, c := range a.claims {
			items = append(items, c)
		}
		json.NewEncoder(w).Encode(map[string]any{"kind": "PersistentVolumeClaimList", "apiVersion": "v1", "items": items})
	case a.claims[name] != nil && r.Method == "DELETE":
		delete(a.claims, name)
		fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Success"}`)
	case a.claims[name] != nil:
		w.Write(a.claims[name])
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}`)
	}
}

// The cluster is found by KUBECONFIG, and asked over the network.
func TestAClusterIsFoundAndAsked(t *testing.T) {
	a := &api{claims: map[string]json.RawMessage{}}
	server := httptest.NewServer(a)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "config")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {"server": "` + server.URL + `"}}], "users": [{"name": "u", "user": {}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", file)
	if c, err := Open(t.Context(), Config{Namespace: "other"}); err == nil || !strings.Contains(err.Error(), "namespace other: not found") {
		t.Errorf("got %v, %v", c, err)
	}
	c, err := Open(t.Context(), Config{Namespace: "agents", Size: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	name, err := c.Make(t.Context(), "s", 5)
	if err != nil || !strings.Contains(string(a.claims[name]), `"storage":"5"`) {
		t.Errorf("the claim is %s, %v", a.claims[name], err)
	}
	if m, err := c.Measure(t.Context(), "s"); err != nil || m.Bytes != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if n, err := c.Orphans(t.Context(), time.Hour, func(names []string) ([]string, error) { return names, nil }); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := c.Remove(t.Context(), name); err != nil || len(a.claims) != 0 {
		t.Errorf("left are %v, %v", a.claims, err)
	}
	if list := strings.Join(a.asked, "\n"); !strings.Contains(list, "persistentvolumeclaims?labelSelector=towpath%2Froot%3Du1&limit=500") {
		t.Errorf("asked was\n%s", list)
	}
	server.Close()
	if err := c.Remove(t.Context(), name); err == nil {
		t.Error("nobody answers, and it is gone")
	}
}

func TestNoClusterIsFound(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if c, err := Open(t.Context(), Config{Namespace: "agents"}); err == nil || !strings.Contains(err.Error(), "namespace agents") {
		t.Errorf("got %v, %v", c, err)
	}
}
