package store_test

func init() {
	const tests = "TestUsageEventsAreEnteredWithTheirEvents|TestAFormerOwnerEntersNothing|TestNonsenseInAUsageEventIsNotKnown|TestUsageIsSummedByWhatIsAskedFor"
	mutants = append(mutants, []mutant{
		{name: "usage events are not entered", file: "functions/append.sql", old: "if 'usage' = any(types) then", new: "if false then", run: tests},
		{name: "a former owner enters usage", file: "functions/usage.sql", old: "join towpath.lease l on l.process_no = x.no and l.fence = x.fence and l.expires_at > t", new: "", run: tests},
		{name: "the first count stays", file: "functions/usage.sql", old: "order by x.ord desc limit 1", new: "order by x.ord limit 1", run: tests},
		{name: "a count below zero", file: "functions/usage.sql", old: "between 0 and 1e15", new: "between -9 and 1e15", run: tests},
		{name: "unnamed responses are one", file: "functions/usage.sql", old: "'unnamed ' || gen_random_uuid()", new: "'unnamed'", run: tests},
		{name: "the filter of a sum is passed over", file: "functions/usage.sql", old: "where filter <@ d.fields", new: "", run: tests},
		{name: "until is left out", file: "functions/usage.sql", old: "x.day <= usage_summary.until", new: "x.day < usage_summary.until", run: tests},
		{name: "a rate sinks while a turn waits", file: "functions/usage.sql", old: "extract(epoch from max(u.at) -", new: "extract(epoch from towpath.now() -", run: "TestTheTokensOfTurns"},
		{name: "everybody's tokens", file: "functions/usage.sql", old: "where p.id = any(process_ids) and", new: "where", run: "TestTheTokensOfTurns"},
		{name: "one response of a turn", file: "functions/usage.sql", old: "select p.id, sum(u.output_tokens)::bigint", new: "select p.id, max(u.output_tokens)::bigint", run: "TestTheTokensOfTurns"},
	}...)
}
