package store_test

func init() {
	owned = append(owned, "functions/append.sql")
	const alone = "TestAJournalAloneIsItsOwners"
	mutants = append(mutants, []mutant{
		{name: "commits of executors notify", file: "functions/note.sql", old: "<> 'after' then", new: "<> 'never' then", run: "TestReadersAreWokenAfterTheCommit"},
		{name: "executors in SQL wake nobody", file: "functions/note.sql", old: "if coalesce(current_setting('towpath.notify', true), '') <> 'after' then", new: "if false then", run: "TestReadersAreWokenAfterTheCommit"},
		{name: "who did not execute it leaves its readers asleep", file: "functions/finalize.sql", old: "  if p_fence is null then\n    perform towpath.wake('towpath_events', p.id);\n", new: "  if p_fence is null then\n    null;\n", run: "TestWhoIsWokenByWhat"},
		{name: "a stale fence keeps a journal", file: "functions/append.sql", old: "from towpath.lease l where l.process_no = nos[1] and l.fence = fences[1] and l.expires_at > t;",
			new: "from towpath.lease l where l.process_no = nos[1] and l.expires_at > t;", run: alone},
		{name: "a lapsed lease keeps a journal", file: "functions/append.sql", old: "and l.fence = fences[1] and l.expires_at > t;", new: "and l.fence = fences[1];", run: alone},
		{name: "a journal does not wait for a takeover", file: "functions/append.sql", old: "where p.no = nos[1] for no key update;", new: "where p.no = nos[1];", run: alone},
		{name: "a stale fence keeps a journal beside others", file: "functions/append.sql", old: "join towpath.lease l on l.process_no = f.no and l.fence = f.fence and l.expires_at > t",
			new: "join towpath.lease l on l.process_no = f.no", run: alone + "|TestAStaleFenceDropsOnlyItsOwn"},
	}...)
}
