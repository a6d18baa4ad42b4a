package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	languages "github.com/towpath/towpath/examples/02-languages"
)

func (c *cli) pluginNew() *cobra.Command {
	var language string
	cmd := &cobra.Command{
		Use:   "new --lang LANGUAGE DIR",
		Short: "Make a project for a plugin that builds with make; DIR's name is the plugin's",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			name := filepath.Base(dir)
			if err := languages.New(language, dir, name); err != nil {
				return &usageError{err: err}
			}
			_, err = fmt.Fprintf(c.out, "made %s: `make -C %s`, then `worker plugin check %s.wasm`\n", args[0], args[0], filepath.Join(args[0], name))
			return err
		},
	}
	cmd.Flags().StringVar(&language, "lang", "go", strings.Join(languages.Languages, ", "))
	return cmd
}
