package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

// maxInput is what submit reads from stdin: the database takes 1 MiB of input and says so itself.
const maxInput = 2 << 20

func (c *cli) submit() *cobra.Command {
	var (
		turn           store.Submission
		input, options string
		follow         bool
		show           display
	)
	cmd := &cobra.Command{
		Use:   "submit --profile NAME [TEXT | -]",
		Short: "Submit a turn and print its process id, or follow it",
		Example: `  worker submit --profile hello Ada
  worker submit --profile deepseek --session s1 --follow "And in one sentence?"
  git diff | worker submit --profile deepseek --follow -
  worker submit --profile deepseek --input '{"text":"hi","model":"deepseek-flash"}'`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if turn.Input, err = c.input(input, args); err != nil {
				return &usageError{err: err, hint: "usage: " + cmd.UseLine()}
			}
			if options != "" {
				turn.Options = json.RawMessage(options)
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			tracer, stop, err := s.tracer("", s.logger(c.err))
			if err != nil {
				return err
			}
			defer stop()
			id, err := submitTraced(cmd.Context(), s, tracer, turn)
			if err != nil {
				return err
			}
			if !follow {
				_, err = fmt.Fprintln(c.out, id)
				return err
			}
			fmt.Fprintln(c.err, "process", id)
			return c.follow(cmd.Context(), s, id, 0, show)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&turn.Profile, "profile", "p", "", "backend, as `worker profiles` lists them (required)")
	f.StringVarP(&turn.Session, "session", "s", "", "conversation to go on with, or to begin; empty: a new one")
	f.StringVarP(&turn.Key, "key", "k", "", "idempotency key: the same key and request is the same turn")
	f.StringVar(&input, "input", "", "whole input as a JSON object in place of TEXT; - reads it from stdin")
	f.StringVar(&options, "options", "", "JSON object with priority, max_attempts, timeout_s, scheduled_at, late_steer, fallback, tenant, project, id, traceparent")
	f.BoolVarP(&follow, "follow", "f", false, "stream the turn's text to stdout until it ends")
	_ = cmd.RegisterFlagCompletionFunc("profile", c.completeProfiles)
	show.addFlag(f)
	return cmd
}

// input is what to submit: the JSON of --input, or {"text": …} of the arguments.
func (c *cli) input(flag string, args []string) (json.RawMessage, error) {
	if flag != "" && len(args) > 0 {
		return nil, errors.New("give TEXT or --input, not both")
	}
	if flag == "" {
		text, err := c.text(args)
		if err != nil {
			return nil, err
		}
		return json.Marshal(map[string]string{"text": text})
	}
	if flag == "-" {
		read, err := c.readAll()
		if err != nil {
			return nil, err
		}
		flag = read
	}
	if !json.Valid([]byte(flag)) {
		return nil, errors.New("--input is not JSON")
	}
	return json.RawMessage(flag), nil
}

// text joins the arguments, or reads stdin for a lone "-".
func (c *cli) text(args []string) (string, error) {
	text := strings.Join(args, " ")
	if len(args) == 1 && args[0] == "-" {
		read, err := c.readAll()
		if err != nil {
			return "", err
		}
		text = strings.TrimSuffix(read, "\n")
	}
	switch {
	case text == "":
		return "", errors.New("no text given")
	case !utf8.ValidString(text):
		return "", errors.New("the text is not valid UTF-8")
	case strings.ContainsRune(text, 0):
		return "", errors.New("the text contains a NUL character, which Postgres cannot store")
	}
	return text, nil
}

func (c *cli) readAll() (string, error) {
	read, err := io.ReadAll(io.LimitReader(c.in, maxInput+1))
	if err != nil {
		return "", fmt.Errorf("read stdin: %w", err)
	}
	if len(read) > maxInput {
		return "", fmt.Errorf("stdin has more than %d bytes, the limit of an input is 1048576", maxInput)
	}
	return string(read), nil
}
