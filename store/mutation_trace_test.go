package store_test

func init() {
	mutants = append(mutants, []mutant{
		{name: "another trace is another request", file: "functions/accept_turn.sql", old: "p_options - '{id,traceparent}'::text[]));", new: "p_options - 'id'));", run: "TestATraceGoesWithATurn"},
		{name: "anything is a trace", file: "functions/accept_turn.sql", old: "when k = 'traceparent' then\n      if not towpath.is_traceparent(v) then", new: "when k = 'traceparent' then\n      if false then", run: "TestATraceGoesWithATurn"},
		{name: "a span of zeros", file: "functions/accept_turn.sql", old: "(?!0{16})", new: "", run: "TestATraceGoesWithATurn"},
		{name: "a row's trace is forgotten", file: "functions/accept_turn.sql", old: "if towpath.is_traceparent(trace) then", new: "if false then", run: "TestATraceGoesWithATurn"},
		{name: "a row with a wrong trace is refused", file: "functions/accept_turn.sql", old: "if towpath.is_traceparent(trace) then", new: "if trace is not null then", run: "TestATraceGoesWithATurn"},
		{name: "a job without its trace", file: "functions/enqueue.sql", old: ", 'traceparent', p.spec -> 'traceparent'", new: "", run: "TestATraceGoesWithATurn"},
	}...)
}
