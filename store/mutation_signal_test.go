package store_test

func init() {
	owned = append(owned, "functions/signal.sql")
	mutants = append(mutants, []mutant{
		{name: "any name is a signal's", file: "functions/signal.sql", old: "if name is null or name !~ '^[A-Za-z0-9_-]{1,93}$' then", new: "if false then", run: "TestWhatIsNoSignal"},
		{name: "strangers signal", file: "functions/signal.sql", old: "if scope is not null and not exists (select", new: "if false and not exists (select", run: "TestWhatIsNoSignal"},
		{name: "every signal is another", file: "functions/signal.sql", old: "'signal:' || name || ':' || signal_id, null)", new: "'signal:' || name || ':' || signal_id || random(), null)", run: "TestASignalIsSentOnce"},
		{name: "an old signal wakes", file: "functions/signal.sql", old: "    return at; -- sent before", new: "    null;", run: "TestASignalIsSentOnce|TestTheNthSignalAnswersTheNthWait"},
		{name: "signals of all names are counted together", file: "functions/signal.sql", old: "where x.process_no = p.no and x.name = signal.name\n", new: "where x.process_no = p.no\n", run: "TestTheNthSignalAnswersTheNthWait"},
		{name: "any signal of the name wakes", file: "functions/signal.sql", old: ", 'name', name, 'ordinal', nth) then", new: ", 'name', name) then", run: "TestTheNthSignalAnswersTheNthWait"},
		{name: "any signal wakes", file: "functions/signal.sql", old: "jsonb_build_object('kind', 'signal', 'name', name, 'ordinal', nth) then", new: "jsonb_build_object('kind', 'signal', 'ordinal', nth) then", run: "TestTheNthSignalAnswersTheNthWait"},
		{name: "signals wake nobody", file: "functions/signal.sql", old: "    perform towpath.resume(p.id);\n", new: "    null;\n", run: "TestTheNthSignalAnswersTheNthWait"},
		{name: "the first signal is every one", file: "functions/signal.sql", old: "and x.name = wait_signal.name and x.ordinal = wait_signal.ordinal;", new: "and x.name = wait_signal.name order by x.ordinal limit 1;", run: "TestTheNthSignalAnswersTheNthWait"},
		{name: "a wait for what cannot come", file: "functions/signal.sql", old: "if not exists (select 1 from towpath.event_type t", new: "if false and not exists (select 1 from towpath.event_type t", run: "TestWhatIsNoSignal"},
		{name: "a stale owner waits", file: "functions/signal.sql", old: "p := towpath.owned(process_no, fence);", new: "select * into p from towpath.process x where x.no = wait_signal.process_no;", run: "TestWhatIsNoSignal|TestTheNthSignalAnswersTheNthWait"},
		{name: "signals are events", file: "functions/append_event.sql", old: "if starts_with(type, 'signal.') then", new: "if false then", run: "TestWhatIsNoSignal"},
	}...)
}
