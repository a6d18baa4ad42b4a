package store_test

func init() {
	owned = append(owned, "functions/completion.sql")
	mutants = append(mutants, []mutant{
		{name: "members wake", file: "functions/completion.sql", old: "wakes boolean := p_kind is distinct from 'member';", new: "wakes boolean := true;", run: "TestFiveEndsAreOneWake"},
		{name: "an end asks nobody to wake", file: "functions/completion.sql", old: "      perform towpath.enqueue_wake(w.session_id);\n", new: "      null;\n", run: "TestABurstOfEndsLosesNone|TestFiveEndsAreOneWake"},
		{name: "ends leave no completion", sql: "create or replace function towpath.note_completion(p_no bigint, p_kind text, p_at timestamptz) returns void language sql as 'select'", run: "TestABurstOfEndsLosesNone"},
		{name: "the end of a run wakes nobody", sql: "drop trigger towpath_wake on towpath.session", run: "TestFiveEndsAreOneWake"},
		{name: "sessions are woken for nothing", file: "functions/completion.sql", old: "     and exists (select 1 from towpath.completion c where c.session_id = new.id and c.wakes and c.turn_id is null) then", new: "     then", run: "TestFiveEndsAreOneWake"},
		{name: "completions have one number", file: "functions/completion.sql", old: "set seq = s.completions + f.place", new: "set seq = s.completions + 1", run: "TestCompletionsAreDeliveredOncePerCursor"},
		{name: "numbers begin anew", file: "functions/completion.sql", old: "set completions = top,", new: "set completions = 0,", run: "TestABurstOfEndsLosesNone|TestCompletionsAreDeliveredOncePerCursor"},
		{name: "readers forget", file: "functions/completion.sql", old: "    start := coalesce((select c.position from towpath.cursor c where c.reader = completions.reader and c.stream = 'completions:' || session), 0);", new: "    start := 0;", run: "TestCompletionsAreDeliveredOncePerCursor"},
		{name: "a page repeats its last", file: "functions/completion.sql", old: "c.seq > start order by", new: "c.seq >= start order by", run: "TestCompletionsAreDeliveredOncePerCursor"},
		{name: "readers see what is not there", file: "functions/completion.sql", old: "seq < 0 or seq > s.completions then", new: "seq < 0 then", run: "TestCompletionsAreDeliveredOncePerCursor"},
		{name: "readers unsee", file: "functions/completion.sql", old: "  if seq < old then", new: "  if false then", run: "TestCompletionsAreDeliveredOncePerCursor"},
		{name: "woken during a run", file: "functions/completion.sql", old: "if s.active_process is not null or s.runtime_state", new: "if s.runtime_state", run: "TestFiveEndsAreOneWake|TestABurstOfEndsLosesNone"},
		{name: "one turn for each end", file: "functions/completion.sql", old: "order by c.seq limit 100) x;", new: "order by c.seq limit 1) x;", run: "TestFiveEndsAreOneWake"},
		{name: "told again and again", file: "functions/completion.sql", old: "  update towpath.completion c set turn_id = turn where c.process_no = any(told);\n", new: "", run: "TestFiveEndsAreOneWake"},
		{name: "everybody's operations end", file: "functions/completion.sql", old: "where w.session_id = session and p.finalized_at is null and", new: "where w.session_id <> session and p.finalized_at is null and", run: "TestTheLifeOfAnOperation"},
		{name: "a barrier for the first", file: "functions/completion.sql", old: "where not exists (select 1 from towpath.process x where x.id = any(process_ids) and x.finalized_at is null) order", new: "where p.finalized_at is not null order", run: "TestWaitingForAll"},
		{name: "barriers for nobody", file: "functions/completion.sql", old: "  perform towpath.process(i) from unnest(process_ids) i;\n", new: "", run: "TestWaitingForAll"},
		{name: "no limit of operations", file: "functions/start.sql", old: "if o ? 'limit' and (o ->> 'limit')::int < (select", new: "if false and 1 < (select", run: "TestALimitOfOperations"},
		{name: "a limit that is raced", file: "functions/start.sql", old: "    perform 1 from towpath.session x where x.id = o ->> 'wake' for no key update;\n", new: "    null;\n", run: "TestALimitOfOperations"},
		{name: "a wake that is lost stays lost", file: "functions/sweep.sql", old: "where x.wakes and x.turn_id is null and x.at < t - ttl and", new: "where false and", run: "TestAWakeThatIsLostIsAskedForAgain"},
	}...)
}
