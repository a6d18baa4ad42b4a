package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/hostabi/engine/rewrite"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/profiles"
)

func (c *cli) plugin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "List, check, add, remove and permit the modules behind profiles",
		Long: `List, check, add, remove and permit the modules behind profiles. A .wasm file that is dropped into the plugins folder of
any node does what add does; a .toml file of its name beside it does, on that node, what permit does on all.`,
		Args: c.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.pluginLs(), c.pluginCheck(), c.pluginAdd(), c.pluginRm(), c.pluginPermit(), c.pluginLogs(), c.pluginNew())
	return cmd
}

// who names the person that runs this command.
func who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

// permitsOf finds the permits of a profile as this machine would: its own file, those by SQL, or none.
func (c config) permitsOf(s store.Served) (from string, text []byte, err error) {
	if c.Plugins != "" {
		path := filepath.Join(c.Plugins, s.Name+".toml")
		switch text, err = os.ReadFile(path); {
		case err == nil:
			return path, text, nil
		case !errors.Is(err, fs.ErrNotExist):
			return path, nil, err
		}
	}
	if s.Permits != nil {
		return "SQL, by " + *s.PermitsBy, []byte(*s.Permits), nil
	}
	return "", nil, nil
}

func (c *cli) pluginLs() *cobra.Command {
	var show display
	cmd := &cobra.Command{
		Use:   "ls [NAME…]",
		Short: "List plugins, what they request beside what is permitted, and their limits",
		Long: `List plugins, what they request beside what is permitted, and their limits. Permits are those of this machine's plugins
folder where it has a file for the profile, else those by SQL. With names, limits are listed too.`,
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			list, err := s.Store.Plugins(cmd.Context())
			if err != nil {
				return err
			}
			for _, name := range args {
				if !slices.ContainsFunc(list, func(p store.Served) bool { return p.Name == name }) {
					return &usageError{err: fmt.Errorf("unknown profile %q", name), hint: "`worker plugin ls` lists all"}
				}
			}
			list = slices.DeleteFunc(list, func(p store.Served) bool { return len(args) > 0 && !slices.Contains(args, p.Name) })
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			for i, p := range list {
				if show.json {
					err = writeJSON(c.out, p)
				} else {
					if i > 0 {
						fmt.Fprintln(w)
					}
					err = s.printPlugin(w, p, len(args) > 0)
				}
				if err != nil {
					return err
				}
			}
			return w.Flush()
		}),
	}
	show.addFlag(cmd.Flags())
	return cmd
}

func (s *session) printPlugin(w io.Writer, p store.Served, limits bool) error {
	var m hostabi.Manifest
	if err := json.Unmarshal(p.Manifest, &m); err != nil {
		return fmt.Errorf("manifest of %s: %w", p.Name, err)
	}
	state := "served"
	switch {
	case p.RemovedBy != nil:
		state = "removed by " + *p.RemovedBy
	case !p.Enabled:
		state = "switched off"
	}
	fmt.Fprintf(w, "%s\tversion %s\t%.12s\t%s\n", p.Name, m.Version, p.Digest, state)
	if p.AddedBy != nil {
		fmt.Fprintf(w, "  added\tby %s\t%s\t%d earlier\n", *p.AddedBy, p.AddedAt.Local().Format("2006-01-02 15:04:05"), len(p.Superseded))
	}
	from, text, err := s.permitsOf(p)
	var r profiles.Report
	if err == nil {
		r, err = profiles.NewReport(p.Name, p.Digest, m, from, text)
	}
	if err != nil {
		fmt.Fprintf(w, "  permits\tare wrong: %v\n", err)
		return nil
	}
	printReport(w, r, limits)
	return nil
}

// printReport writes what is requested beside what is permitted.
func printReport(w io.Writer, r profiles.Report, limits bool) {
	from := r.File
	if from == "" {
		from = "nobody has given any"
	}
	fmt.Fprintf(w, "  permits\tREQUESTED\tPERMITTED (%s)\n", from)
	for _, l := range r.Lines {
		missing := ""
		if l.Missing {
			missing = "<- less than requested"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", l.What, dash(l.Requested), dash(l.Permitted), missing)
	}
	if len(r.Lines) == 0 {
		fmt.Fprintf(w, "  nothing\t%s\t%s\n", dash(""), dash(""))
	}
	if !limits {
		return
	}
	fmt.Fprintf(w, "  limits\tVALUE\tDEFAULT\n")
	for _, l := range r.Settings {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", l.Key, l.Value, l.Default, l.About)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// pluginFile is a module that a person names.
type pluginFile struct {
	name, path string
	wasm       []byte
	digest     string
}

func readPlugin(path string) (pluginFile, error) {
	f := pluginFile{path: path, name: strings.TrimSuffix(filepath.Base(path), ".wasm")}
	info, err := os.Stat(path)
	if err != nil {
		return f, &usageError{err: err}
	}
	if info.Size() > hostabi.MaxModule {
		return f, fmt.Errorf("%s has %d bytes, a module at most %d: strip it (-ldflags='-s -w' for Go) or split it", path, info.Size(), hostabi.MaxModule)
	}
	if f.wasm, err = os.ReadFile(path); err != nil {
		return f, &usageError{err: err}
	}
	sum := sha256.Sum256(f.wasm)
	f.digest = hex.EncodeToString(sum[:])
	return f, nil
}

// loaded makes a profile of a module and permits on this machine, as a node does.
func (c *cli) loaded(ctx context.Context, cfg config, seed []byte, f pluginFile, from string, permits []byte) (*profiles.Profile, func(), error) {
	eng, err := engine.New(ctx, engine.Config{CacheDir: cfg.Cache, Seed: seed, Logger: cfg.logger(c.err)})
	if err != nil {
		return nil, nil, err
	}
	over := c.busy("compiling " + f.name)
	p, err := profiles.Load(ctx, worker.Loader(eng), f.name, f.wasm, from, permits)
	over()
	if err != nil {
		eng.Close(context.WithoutCancel(ctx))
		return nil, nil, err
	}
	return p, func() { p.Release(); eng.Close(context.WithoutCancel(ctx)) }, nil
}

func (c *cli) pluginCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Load a module as a node would, and say what it imports, exports and requests, or what is wrong with it",
		Long: `Load a module as a node would, and say what it imports, exports and requests, or what is wrong with it. A permit file
beside it (FILE with .toml) is checked too. Needs no database.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			f, err := readPlugin(args[0])
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			defer w.Flush()
			printOutline(w, f, rewrite.ReadOutline(f.wasm))
			permitFile := strings.TrimSuffix(f.path, ".wasm") + ".toml"
			permits, err := os.ReadFile(permitFile)
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
				permitFile = ""
			}
			p, done, err := c.loaded(cmd.Context(), cfg, nil, f, permitFile, permits)
			if err != nil {
				w.Flush()
				return err
			}
			defer done()
			fmt.Fprintf(w, "manifest\t%s, version %s\n", p.Manifest.Name, p.Manifest.Version)
			r, err := profiles.NewReport(f.name, f.digest, p.Manifest, permitFile, permits)
			if err != nil {
				return err
			}
			printReport(w, r, true)
			fmt.Fprintln(w, "ok\tit can be added")
			return nil
		},
	}
}

func printOutline(w io.Writer, f pluginFile, o rewrite.Outline) {
	fmt.Fprintf(w, "file\t%s, %d bytes\n", f.path, len(f.wasm))
	fmt.Fprintf(w, "digest\t%s\n", f.digest)
	byModule := map[string][]string{}
	var modules []string
	for _, full := range o.Imports {
		module, name, _ := strings.Cut(full, ".")
		if byModule[module] == nil {
			modules = append(modules, module)
		}
		byModule[module] = append(byModule[module], name)
	}
	for _, module := range modules {
		fmt.Fprintf(w, "imports\t%s: %s\n", module, strings.Join(byModule[module], " "))
	}
	fmt.Fprintf(w, "exports\t%s\n", dash(strings.Join(o.Exports, " ")))
	var sizes []string
	for _, s := range o.Sections {
		if s.Bytes >= 1024 {
			sizes = append(sizes, fmt.Sprintf("%s %d KiB", s.Name, s.Bytes>>10))
		}
	}
	fmt.Fprintf(w, "sizes\t%s\n", dash(strings.Join(append(sizes, fmt.Sprintf("%d functions, %d KiB of memory at start", o.Functions, o.Memory.Min*64)), ", ")))
}
