package store_test

func init() {
	owned = append(owned, "functions/gate.sql", "functions/spent.sql")
	const tests = "TestAHoldIsForTheWholeProfile|TestWhichFailuresHold|TestAHoldIsForTheWholeAccount|TestAParkedTurnSpendsNoAttempt|TestCapacityIsForAllNodes|TestABudgetOfASessionPausesIt|TestABudgetOfAProfileIsForATime|TestWishesThatMakeNoSense"
	mutants = append(mutants, []mutant{
		{name: "a held profile is claimed", file: "functions/gate.sql", old: "if g.held_until > t then", new: "if false then", run: tests},
		{name: "a shorter hold counts", file: "functions/gate.sql", old: "and (g.held_until is null or g.held_until < t + delay);", new: ";", run: tests},
		{name: "an account's other profiles are not held", file: "functions/gate.sql", old: "update towpath.gate g set held_until = t + delay, held_for = kind, held_by = process_id, updated_at = t\n  where (g.profile = p_profile or g.account =", new: "update towpath.gate g set held_until = t + delay, held_for = kind, held_by = process_id, updated_at = t\n  where (g.profile = p_profile or false and g.account =", run: tests},
		{name: "two claims see the last place", file: "functions/gate.sql", old: "perform 1 from towpath.gate x where x.profile = p.profile for update;", new: "", run: tests},
		{name: "capacity counts nobody", file: "functions/gate.sql", old: ">= g.capacity then", new: "> g.capacity + 100 then", run: tests},
		{name: "a budget stops what has begun", file: "functions/gate.sql", old: "if p.attempt > 0 then\n    return null;", new: "if false then\n    return null;", run: tests},
		{name: "a session's budget is passed over", file: "functions/gate.sql", old: "if u >= b then", new: "if false then", run: tests},
		{name: "a profile's budget is passed over", file: "functions/gate.sql", old: "if u >= g.budget then", new: "if false then", run: tests},
		{name: "yesterday counts", file: "functions/spent.sql", old: "and u.at >= date_trunc(per, towpath.now(), 'UTC')", new: "", run: tests},
		{name: "a paused turn stays paused", file: "functions/gate.sql", old: "and p.wait ->> 'kind' = 'budget' and p.profile not in", new: "and p.wait ->> 'kind' = 'x' and p.profile not in", run: tests},
		{name: "a paused turn goes on with its budget used up", file: "functions/gate.sql", old: "and (s.budget is null or towpath.spent(s.id) < s.budget)", new: "", run: tests},
		{name: "a parked turn spends attempts", file: "functions/requeue.sql", old: "refund := refund or coalesce(failure_kind = 'usage_limit', false);", new: "", run: tests},
		{name: "a limit holds nobody", file: "functions/requeue.sql", old: "if failure_kind in ('rate_limited', 'usage_limit') then", new: "if failure_kind in ('usage_limit') then", run: tests},
	}...)
}
