package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/spf13/pflag"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store/embedded"
)

// config is every setting. A field tagged client applies to all commands, the others to running a node.
type config struct {
	DatabaseURL string `env:"DATABASE_URL" flag:"database-url" client:"yes" help:"Postgres to use, a URL or key=value pairs; empty: a private one in the data directory"`
	DataDir     string `env:"TOWPATH_DATA_DIR" flag:"data-dir" client:"yes" help:"folder of the private Postgres; empty: /var/lib/towpath for root, else ~/.local/share/towpath"`
	DaemonDir   string `env:"TOWPATH_DAEMONS" flag:"daemon-dir" client:"yes" help:"folder of the logs of daemons, shared by the workers of a machine; empty: daemons in the data directory"`
	RiverSchema string `env:"RIVER_SCHEMA" flag:"river-schema" envDefault:"public" client:"yes" help:"schema of River's tables"`
	Pooled      bool   `env:"TOWPATH_POOLED" flag:"pooled" envDefault:"false" client:"yes" help:"the database is behind a transaction pooler such as pgbouncer: no LISTEN, no prepared statements"`

	LoginKey string `env:"TOWPATH_LOGIN_KEY" flag:"login-key" client:"yes" help:"keys that encrypt the secrets of logins in the database, 32 bytes in base64, separated by commas: the first one encrypts, all decrypt; better in the environment than on a command line"`

	Queues          []string      `env:"TOWPATH_QUEUES" flag:"queues" envDefault:"turns,lifecycle,gc" help:"queues to work, separated by commas"`
	Plugins         string        `env:"TOWPATH_PLUGINS" flag:"plugins" help:"folder of the profiles, NAME.wasm and NAME.toml; empty: plugins beside this program"`
	UpgradeCheck    int           `env:"TOWPATH_UPGRADE_CHECK" flag:"upgrade-check" envDefault:"0" help:"before a file in the plugins folder replaces a module: run so many of the profile's last turns on it from their journals, and refuse one that does something else"`
	Cache           string        `env:"TOWPATH_CACHE_DIR" flag:"cache-dir" help:"folder of compiled profiles, private to this user; empty: towpath in the user's cache folder"`
	Storage         string        `env:"TOWPATH_STORAGE" flag:"storage" help:"folder of the sessions' directories, private to this user, where the children of their turns work; empty: each child has a folder that goes with it"`
	StorageShared   bool          `env:"TOWPATH_STORAGE_SHARED" flag:"storage-shared" envDefault:"false" help:"every node reaches the same files in its --storage; else a session stays on the nodes that have its files"`
	StorageQuota    size          `env:"TOWPATH_STORAGE_QUOTA" flag:"storage-quota" envDefault:"0" help:"the largest quota that a session can have, such as 2GiB; its turns start no child above it; 0: no limit but its own"`
	PVCNamespace    string        `env:"TOWPATH_PVC_NAMESPACE" flag:"pvc-namespace" help:"namespace of a Kubernetes cluster in which sessions that ask for storage of kind pvc get a claim; the cluster is found as kubectl does, or as a pod of it; empty: none"`
	PVCClass        string        `env:"TOWPATH_PVC_CLASS" flag:"pvc-class" help:"storage class of these claims; empty: the cluster's default"`
	PVCSize         size          `env:"TOWPATH_PVC_SIZE" flag:"pvc-size" envDefault:"1GiB" help:"size of the claim of a session that asked for no quota; none is larger than --storage-quota"`
	GCEvery         time.Duration `env:"TOWPATH_GC_EVERY" flag:"gc-every" envDefault:"5m" help:"how often what nobody needs any more is collected"`
	NodeID          string        `env:"TOWPATH_NODE_ID" flag:"node-id" help:"name of this node, unlike that of any other running one; empty: host name and process id"`
	TurnConcurrency int           `env:"TOWPATH_TURNS" flag:"turns" envDefault:"100" help:"turns that run at the same time"`
	MemoryBudget    size          `env:"TOWPATH_MEMORY" flag:"memory" envDefault:"0" help:"memory of all running guests together, such as 2GiB; 0: the machine's"`
	LeaseTTL        time.Duration `env:"TOWPATH_LEASE_TTL" flag:"lease-ttl" envDefault:"30s" help:"a turn whose node has been silent for so long starts again elsewhere"`
	SoftStop        time.Duration `env:"TOWPATH_SOFT_STOP" flag:"soft-stop" envDefault:"10s" help:"how long turns may go on after the first SIGTERM"`
	HardStop        time.Duration `env:"TOWPATH_HARD_STOP" flag:"hard-stop" envDefault:"5s" help:"how long giving the rest back to the queue may take after that"`
	ConnectTimeout  time.Duration `env:"TOWPATH_CONNECT_TIMEOUT" flag:"connect-timeout" envDefault:"30s" help:"how long a node or a migration waits for a database that is down"`
	MaxConns        int           `env:"TOWPATH_MAX_CONNS" flag:"max-conns" envDefault:"16" help:"database connections at most; pool_max_conns in DATABASE_URL wins"`
	NoMigrate       bool          `env:"TOWPATH_NO_MIGRATE" flag:"no-migrate" envDefault:"false" help:"only check that the database is migrated"`
	PostgresBin     string        `env:"TOWPATH_POSTGRES_BIN" flag:"postgres-bin" help:"folder of the programs postgres and initdb for the private Postgres; empty: they are looked for"`
	Monitor         string        `env:"TOWPATH_MONITOR" flag:"monitor" help:"where /metrics, /healthz and /readyz are answered, without a login: HOST:PORT, or a port of loopback; empty: nowhere"`
	OTLP            string        `env:"OTEL_EXPORTER_OTLP_ENDPOINT" flag:"otlp-endpoint" client:"yes" help:"URL of the collector that gets traces by OTLP over HTTP, such as http://127.0.0.1:4318; empty: nothing is traced"`
	LogFormat       logFormat     `env:"TOWPATH_LOG_FORMAT" flag:"log-format" envDefault:"text" help:"text or json"`
	LogLevel        slog.Level    `env:"TOWPATH_LOG_LEVEL" flag:"log-level" envDefault:"info" help:"debug, info, warn or error"`
}

// setting is one field of config as a flag. Its text joins the environment, so that there is one parser.
type setting struct {
	field, env, flag, help, text string
	kind                         string
	client, given                bool
}

func (s *setting) String() string { return s.text }
func (s *setting) Type() string   { return s.kind }

func (s *setting) Set(text string) error {
	s.text, s.given = text, true
	return nil
}

// settings are the fields of config, in order.
type settings []*setting

func newSettings() settings {
	var list settings
	for f := range fields(reflect.TypeFor[config]()) {
		kind := map[string]string{"bool": "bool", "int": "int", "time.Duration": "duration", "[]string": "list"}[f.Type.String()]
		list = append(list, &setting{
			field: f.Name, env: f.Tag.Get("env"), flag: f.Tag.Get("flag"), help: f.Tag.Get("help"), text: f.Tag.Get("envDefault"),
			kind: cmp.Or(kind, "string"), client: f.Tag.Get("client") != "",
		})
	}
	return list
}

func fields(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

// addFlags defines the chosen settings as flags.
func (list settings) addFlags(flags *pflag.FlagSet, chosen func(*setting) bool) {
	for _, s := range list {
		if !chosen(s) {
			continue
		}
		f := flags.VarPF(s, s.flag, "", s.help+" ["+s.env+"]")
		if s.kind == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// parse reads the settings from flags and the environment, and fills in what depends on the machine.
func (list settings) parse(environ []string) (config, error) {
	vars := env.ToMap(environ)
	for _, s := range list {
		if s.given {
			vars[s.env] = s.text
		}
	}
	cfg, err := env.ParseAsWithOptions[config](env.Options{Environment: vars})
	if err != nil {
		return cfg, &usageError{err: list.explain(err, vars)}
	}
	if err := cfg.check(); err != nil {
		return cfg, &usageError{err: err}
	}
	return cfg, cfg.complete()
}

// explain names the variable and the flag of a value that does not parse.
func (list settings) explain(err error, vars map[string]string) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	var errs []error
	for _, err := range all.Errors {
		var bad env.ParseError
		if errors.As(err, &bad) {
			if i := slices.IndexFunc(list, func(s *setting) bool { return s.field == bad.Name }); i >= 0 {
				err = fmt.Errorf("--%s (%s) cannot be %q: %w", list[i].flag, list[i].env, vars[list[i].env], bad.Err)
			}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c config) check() error {
	if _, err := c.sealer(); err != nil {
		return err
	}
	for _, name := range c.Queues {
		if !slices.Contains(queue.Queues(), name) {
			return fmt.Errorf("--queues (TOWPATH_QUEUES) names %q: the queues are %s", name, strings.Join(queue.Queues(), ", "))
		}
	}
	if len(c.Queues) == 0 {
		return errors.New("--queues (TOWPATH_QUEUES) is empty")
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		least time.Duration
	}{
		{"--lease-ttl (TOWPATH_LEASE_TTL)", c.LeaseTTL, time.Second},
		{"--soft-stop (TOWPATH_SOFT_STOP)", c.SoftStop, time.Millisecond},
		{"--hard-stop (TOWPATH_HARD_STOP)", c.HardStop, time.Millisecond},
		{"--gc-every (TOWPATH_GC_EVERY)", c.GCEvery, time.Second},
		{"--connect-timeout (TOWPATH_CONNECT_TIMEOUT)", c.ConnectTimeout, 0},
	} {
		if d.value < d.least {
			return fmt.Errorf("%s is %v: the least is %v", d.flag, d.value, d.least)
		}
	}
	if c.TurnConcurrency < 1 || c.TurnConcurrency > 10_000 {
		return fmt.Errorf("--turns (TOWPATH_TURNS) is %d: from 1 to 10000", c.TurnConcurrency)
	}
	if c.PVCSize < 1 {
		return errors.New("--pvc-size (TOWPATH_PVC_SIZE) is 0: a claim has a size, such as 1GiB")
	}
	if c.MaxConns < 4 {
		return fmt.Errorf("--max-conns (TOWPATH_MAX_CONNS) is %d: a node needs at least 4", c.MaxConns)
	}
	return nil
}

// complete fills in the defaults that depend on the machine.
func (c *config) complete() error {
	if c.DataDir == "" {
		dir, err := embedded.DefaultDir()
		if err != nil && c.DatabaseURL == "" {
			return err
		}
		c.DataDir = dir
	}
	if c.DaemonDir == "" && c.DataDir != "" {
		c.DaemonDir = filepath.Join(c.DataDir, "daemons")
	}
	if c.Plugins == "" {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the folder of this program: %w", err)
		}
		// Without one the node has no profiles, which its log says.
		if dir := filepath.Join(filepath.Dir(program), "plugins"); isFolder(dir) {
			c.Plugins = dir
		}
	}
	if c.Cache == "" {
		// Without a home the engine uses a temporary folder.
		if dir, err := os.UserCacheDir(); err == nil {
			c.Cache = filepath.Join(dir, "towpath")
		}
	}
	if c.NodeID == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		c.NodeID = host + "-" + strconv.Itoa(os.Getpid())
	}
	return nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// strangers are the warnings about TOWPATH_ variables that no setting has.
func (list settings) strangers(environ []string) []string {
	known := make([]string, len(list))
	for i, s := range list {
		known[i] = s.env
	}
	var warnings []string
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "TOWPATH_") || strings.HasPrefix(name, "TOWPATH_TEST_") || slices.Contains(known, name) {
			continue
		}
		near := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
		warnings = append(warnings, fmt.Sprintf("unknown variable %s is ignored; did you mean %s?", name, near))
	}
	slices.Sort(warnings)
	return warnings
}

// distance is the number of single-letter edits between two names.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
