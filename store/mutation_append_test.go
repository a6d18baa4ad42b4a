package store_test

func init() {
	owned = append(owned, "functions/append.sql")
	const alone = "TestAJournalAloneIsItsOwners"
	mutants = append(mutants, []mutant{
		{name: "a stale fence keeps a journal", file: "functions/append.sql", old: "from towpath.lease l where l.process_no = nos[1] and l.fence = fences[1] and l.expires_at > t;",
			new: "from towpath.lease l where l.process_no = nos[1] and l.expires_at > t;", run: alone},
		{name: "a lapsed lease keeps a journal", file: "functions/append.sql", old: "and l.fence = fences[1] and l.expires_at > t;", new: "and l.fence = fences[1];", run: alone},
		{name: "a journal does not wait for a takeover", file: "functions/append.sql", old: "where p.no = nos[1] for no key update;", new: "where p.no = nos[1];", run: alone},
		{name: "a stale fence keeps a journal beside others", file: "functions/append.sql", old: "join towpath.lease l on l.process_no = f.no and l.fence = f.fence and l.expires_at > t",
			new: "join towpath.lease l on l.process_no = f.no", run: alone + "|TestAStaleFenceDropsOnlyItsOwn"},
	}...)
}
