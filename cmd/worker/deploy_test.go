package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

// systemd hears that a node is ready, that it lives, and that it stops.
func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(pgtest.Folder(t), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	env := map[string]string{"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan struct{})
	go func() {
		notify(ctx, func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		close(done)
	}()
	heard := func() string {
		b := make([]byte, 100)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := heard(); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	stop()
	last := heard()
	for last == "WATCHDOG=1" {
		last = heard()
	}
	if last != "STOPPING=1" {
		t.Errorf("heard %s at the end", last)
	}
	<-done
	notify(t.Context(), func(string) string { return "" }, slog.New(slog.DiscardHandler)) // not under systemd: returns at once
}

// known fails for a variable of ours that is no setting.
func known(t *testing.T, where, name string) {
	t.Helper()
	if strings.HasPrefix(name, "TOWPATH_") && !slices.ContainsFunc(newSettings(), func(s *setting) bool { return s.env == name }) {
		t.Errorf("%s: %s is no setting", where, name)
	}
}

// stopping is how long a node may take to stop, by default.
func stopping(t *testing.T) time.Duration {
	t.Helper()
	cfg, err := newSettings().parse([]string{"DATABASE_URL=postgres://x"})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.SoftStop + cfg.HardStop
}

// The unit gives a node time to stop, runs what there is, and sets what is a setting.
func TestTheUnitFitsTheWorker(t *testing.T) {
	text, err := os.ReadFile("../../deploy/towpath.service")
	if err != nil {
		t.Fatal(err)
	}
	keys, section := map[string]string{}, ""
	for i, line := range strings.Split(string(text), "\n") {
		switch key, value, assigned := strings.Cut(line, "="); {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = line
			if !slices.Contains([]string{"[Unit]", "[Service]", "[Install]"}, line) {
				t.Errorf("line %d: no section %s", i+1, line)
			}
		case !assigned || !regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(key):
			t.Errorf("line %d: %s", i+1, line)
		default:
			keys[section+key] += value + " "
		}
	}
	if !strings.HasPrefix(keys["[Service]ExecStart"], "/usr/local/bin/worker ") || keys["[Service]Type"] != "notify " {
		t.Errorf("it starts %q as %q", keys["[Service]ExecStart"], keys["[Service]Type"])
	}
	for _, pair := range strings.Fields(keys["[Service]Environment"]) {
		name, _, _ := strings.Cut(pair, "=")
		known(t, "the unit", name)
	}
	if s, err := strconv.Atoi(strings.TrimSpace(keys["[Service]TimeoutStopSec"])); err != nil || time.Duration(s)*time.Second <= stopping(t) {
		t.Errorf("TimeoutStopSec is %q, a node may take %v", keys["[Service]TimeoutStopSec"], stopping(t))
	}
	if strings.Contains(keys["[Service]MemoryDenyWriteExecute"], "yes") {
		t.Error("plugins are compiled at run time")
	}
}

// The image runs what it has copied, as a user who owns the folders that it writes to, and sets what is a setting.
func TestTheImageFitsTheWorker(t *testing.T) {
	text, err := os.ReadFile("../../deploy/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, image, _ := strings.Cut(string(text), "\nFROM scratch\n")
	said, owned, env := map[string]string{}, map[string]string{}, map[string]string{}
	for line := range strings.Lines(image) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		words := strings.Fields(rest)
		switch said[instruction] = rest; instruction {
		case "COPY":
			owner := ""
			for _, w := range words {
				if user, ok := strings.CutPrefix(w, "--chown="); ok {
					owner = user
				}
			}
			owned[words[len(words)-1]] = owner
		case "ENV":
			for _, pair := range words {
				name, value, _ := strings.Cut(pair, "=")
				known(t, "the image", name)
				env[name] = value
			}
		}
	}
	user := said["USER"]
	if user == "" || strings.HasPrefix(user, "0") || strings.HasPrefix(user, "root") {
		t.Errorf("it runs as %q", user)
	}
	for _, folder := range []string{env["TOWPATH_CACHE_DIR"], said["VOLUME"], "/tmp"} {
		if owned[folder] != user {
			t.Errorf("%s belongs to %q, not to %s", folder, owned[folder], user)
		}
	}
	if _, there := owned[env["TOWPATH_PLUGINS"]]; !there {
		t.Errorf("the plugins folder %q is not copied", env["TOWPATH_PLUGINS"])
	}
	program := strings.Trim(said["ENTRYPOINT"], `[]"`)
	if _, there := owned[program]; !there {
		t.Errorf("it starts %q, which is not copied", program)
	}
	if _, port, err := net.SplitHostPort(env["TOWPATH_MONITOR"]); err != nil || port != said["EXPOSE"] {
		t.Errorf("it exposes %s and answers at %s", said["EXPOSE"], env["TOWPATH_MONITOR"])
	}
}

// object is any YAML mapping; at walks down its keys.
type object map[string]any

func at[T any](t *testing.T, o any, path ...any) (v T) {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := o.(object)
			o = m[step]
		case int:
			list, _ := o.([]any)
			if step >= len(list) {
				t.Fatalf("%v: there are %d", path, len(list))
			}
			o = list[step]
		}
	}
	v, ok := o.(T)
	if !ok {
		t.Fatalf("%v is %#v", path, o)
	}
	return v
}

// manifests are the objects of a file.
func manifests(t *testing.T, name string) (list []object) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../deploy/kubernetes", name))
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list = append(list, o)
	}
}

// The role for claims lets a worker do what it does, and nothing else; it is bound to the account that the file makes.
func TestTheRoleForClaimsFitsTheWorker(t *testing.T) {
	list := manifests(t, "claims.yaml")
	if len(list) != 3 {
		t.Fatalf("there are %d", len(list))
	}
	account, role, binding := list[0], list[1], list[2]
	for i, want := range []string{"v1 ServiceAccount", "rbac.authorization.k8s.io/v1 Role", "rbac.authorization.k8s.io/v1 RoleBinding"} {
		if got := at[string](t, list[i], "apiVersion") + " " + at[string](t, list[i], "kind"); got != want {
			t.Errorf("number %d is %s, want %s", i, got, want)
		}
	}
	may := map[string]string{}
	for i := range at[[]any](t, role, "rules") {
		may[fmt.Sprint(at[[]any](t, role, "rules", i, "apiGroups"), at[[]any](t, role, "rules", i, "resources"))] = fmt.Sprint(at[[]any](t, role, "rules", i, "verbs"))
	}
	if want := map[string]string{"[] [persistentvolumeclaims]": "[create get list delete]", "[] [namespaces]": "[get]"}; !maps.Equal(may, want) {
		t.Errorf("a worker may %v, want %v", may, want)
	}
	if at[string](t, binding, "roleRef", "name") != at[string](t, role, "metadata", "name") || at[string](t, binding, "roleRef", "kind") != "Role" ||
		at[string](t, binding, "subjects", 0, "name") != at[string](t, account, "metadata", "name") {
		t.Errorf("it binds %v", binding)
	}
}

// The manifests say who may do what: not root, bounded, with probes where the node answers and time to stop.
func TestTheManifestsFitTheWorker(t *testing.T) {
	for _, name := range []string{"migrate.yaml", "worker.yaml"} {
		for _, o := range manifests(t, name) {
			kind := at[string](t, o, "kind")
			if version := map[string]string{"Deployment": "apps/v1", "Job": "batch/v1"}[kind]; version == "" || at[string](t, o, "apiVersion") != version {
				t.Errorf("%s: %s of %v", name, kind, o["apiVersion"])
			}
			pod := at[object](t, o, "spec", "template", "spec")
			worker := at[object](t, pod, "containers", 0)
			if !at[bool](t, pod, "securityContext", "runAsNonRoot") || at[bool](t, pod, "automountServiceAccountToken") ||
				at[bool](t, worker, "securityContext", "allowPrivilegeEscalation") || !at[bool](t, worker, "securityContext", "readOnlyRootFilesystem") {
				t.Errorf("%s: it may do more than it needs", name)
			}
			at[string](t, worker, "resources", "limits", "memory")
			at[string](t, worker, "envFrom", 0, "secretRef", "name")
			if kind == "Job" {
				if at[string](t, worker, "args", 0) != "migrate" || at[string](t, pod, "restartPolicy") != "Never" {
					t.Errorf("%s does not migrate", name)
				}
				continue
			}
			if at[string](t, o, "spec", "selector", "matchLabels", "app.kubernetes.io/name") != at[string](t, o, "spec", "template", "metadata", "labels", "app.kubernetes.io/name") {
				t.Errorf("%s selects other pods than its own", name)
			}
			for _, variable := range at[[]any](t, worker, "env") {
				known(t, name, at[string](t, variable, "name"))
			}
			for probe, path := range map[string]string{"livenessProbe": "/healthz", "readinessProbe": "/readyz"} {
				if at[string](t, worker, probe, "httpGet", "path") != path || at[string](t, worker, probe, "httpGet", "port") != at[string](t, worker, "ports", 0, "name") {
					t.Errorf("%s: %s asks elsewhere", name, probe)
				}
			}
			if s := at[int](t, pod, "terminationGracePeriodSeconds"); time.Duration(s)*time.Second <= stopping(t) {
				t.Errorf("%s gives %d seconds to stop, a node may take %v", name, s, stopping(t))
			}
			mounted := map[string]bool{}
			for _, v := range at[[]any](t, worker, "volumeMounts") {
				mounted[at[string](t, v, "name")] = true
			}
			for _, v := range at[[]any](t, pod, "volumes") {
				if !mounted[at[string](t, v, "name")] {
					t.Errorf("%s: volume %v is not mounted", name, v)
				}
			}
		}
	}
}
