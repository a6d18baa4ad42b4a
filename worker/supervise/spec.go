package supervise

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// daemonSpec is a registered spec; the comment of towpath.spec_put says what its keys mean.
type daemonSpec struct {
	Command   string            `json:"command"`
	Args      []string          `json:"args"`
	Dir       string            `json:"dir"`
	Env       map[string]string `json:"env"`
	Port      int               `json:"port"`
	PortFlag  string            `json:"port_flag"`
	PortFixed bool              `json:"port_fixed"`
	HealthURL string            `json:"health_url"`
	HealthCmd []string          `json:"health_cmd"`
	Remote    bool              `json:"remote"`
	Interval  seconds           `json:"interval_s"`
	Timeout   seconds           `json:"timeout_s"`
	Failures  int               `json:"failures"`
	Ready     seconds           `json:"ready_s"`
	Restart   string            `json:"restart"`
	Grace     seconds           `json:"grace_s"`
	Session   string            `json:"session"`
	LogBytes  int64             `json:"log_bytes"`
}

// seconds is a duration, written as a number of seconds.
type seconds time.Duration

func (s *seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseFloat(string(text), 64)
	*s = seconds(n * float64(time.Second))
	return err
}

// readSpec fills in what a spec leaves out. SQL has checked it.
func readSpec(text json.RawMessage) (daemonSpec, error) {
	s := daemonSpec{Interval: seconds(5 * time.Second), Timeout: seconds(2 * time.Second), Failures: 3, Ready: seconds(30 * time.Second),
		Restart: "always", Grace: seconds(10 * time.Second), LogBytes: 1 << 20}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the spec: %w", err)
	}
	return s, nil
}

const portWord = "{port}"

func (s daemonSpec) hasPort() bool {
	has := func(text string) bool { return strings.Contains(text, portWord) }
	return s.Port != 0 || s.PortFlag != "" || slices.ContainsFunc(s.Args, has) || slices.ContainsFunc(slices.Collect(maps.Values(s.Env)), has)
}

func (s daemonSpec) checked() bool { return s.HealthURL != "" || len(s.HealthCmd) > 0 }

// arguments are those of the command, with its port.
func (s daemonSpec) arguments(port int) []string {
	args := make([]string, 0, len(s.Args)+2)
	for _, a := range s.Args {
		args = append(args, strings.ReplaceAll(a, portWord, strconv.Itoa(port)))
	}
	if s.PortFlag != "" {
		args = append(args, s.PortFlag, strconv.Itoa(port))
	}
	return args
}

// tag is the variable by which everything that descends from a daemon is found again, also what has left its group.
const tag = "TOWPATH_PROCESS"

// environment is a daemon's: little of the worker's, then what the spec says, then what the spec cannot say.
func (s daemonSpec) environment(process, dir string, port int) []string {
	vars := map[string]string{"PATH": os.Getenv("PATH"), "HOME": dir, "LANG": "C.UTF-8", "TMPDIR": os.TempDir()}
	if home := os.Getenv("HOME"); home != "" {
		vars["HOME"] = home
	}
	for name, value := range s.Env {
		vars[name] = strings.ReplaceAll(value, portWord, strconv.Itoa(port))
	}
	vars[tag] = process
	var list []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return list
}

// program finds a command in the worker's PATH, or where its absolute path says.
func program(command string) (string, error) {
	path, err := exec.LookPath(command)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// probeURL is the URL to ask, and the port on this machine that must be the daemon's own; 0 for another machine's.
func (s daemonSpec) probeURL(port int) (string, int, error) {
	if strings.HasPrefix(s.HealthURL, "/") {
		return fmt.Sprintf("http://127.0.0.1:%d%s", port, s.HealthURL), port, nil
	}
	u, err := url.Parse(strings.ReplaceAll(s.HealthURL, portWord, strconv.Itoa(port)))
	if err != nil {
		return "", 0, err
	}
	host := u.Hostname()
	local := host == "localhost"
	if ip := net.ParseIP(host); ip != nil {
		local = ip.IsLoopback()
	}
	if !local {
		if !s.Remote {
			return "", 0, fmt.Errorf("%s is on another machine, which the spec does not permit", u.Host)
		}
		return u.String(), 0, nil
	}
	if p := u.Port(); p != "" {
		n, err := strconv.Atoi(p)
		return u.String(), n, err
	}
	return u.String(), map[string]int{"http": 80, "https": 443}[u.Scheme], nil
}
