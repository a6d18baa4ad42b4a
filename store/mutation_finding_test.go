package store_test

func init() {
	owned = append(owned, "functions/findings.sql", "functions/gauges.sql")
	mutants = append(mutants, []mutant{
		{name: "no trigger is looked at", file: "functions/findings.sql", old: "and g.tgenabled in ('O', 'A')", new: "", run: "TestPlantedFaultsAreFound"},
		{name: "grants are not looked at", file: "functions/findings.sql", old: "where not has_function_privilege(r.oid, p.oid, 'execute')", new: "where false", run: "TestPlantedFaultsAreFound"},
		{name: "lost jobs are not looked at", file: "functions/findings.sql", old: "and p.river_job_id is not null and towpath.job_trouble(p, patience) is not null", new: "and false", run: "TestPlantedFaultsAreFound"},
		{name: "open transactions are not looked at", file: "functions/findings.sql", old: "and clock_timestamp() - a.xact_start > patience", new: "and false", run: "TestPlantedFaultsAreFound"},
		{name: "dead rows are not looked at", file: "functions/findings.sql", old: "t.n_dead_tup > t.n_live_tup", new: "false", run: "TestPlantedFaultsAreFound"},
		{name: "a queue without nodes is no finding", file: "functions/findings.sql", old: "and q.name = any (n.queues))", new: ")", run: "TestPlantedFaultsAreFound"},
		{name: "running jobs are not counted", file: "functions/gauges.sql", old: "from :river.river_job j where j.state in ('available', 'pending', 'retryable', 'running', 'scheduled')", new: "from :river.river_job j where j.state in ('available')", run: "TestGaugesCountTheDeployment"},
		{name: "leases that hold are counted as lapsed", file: "functions/gauges.sql", old: "where l.expires_at <= towpath.now()", new: "where l.expires_at > towpath.now()", run: "TestGaugesCountTheDeployment"},
	}...)
}
