package store_test

func init() {
	owned = append(owned, "functions/login.sql")
	const login = "functions/login.sql"
	const one, done, ends = "TestOneLoginOfAProfileIsUnderWay", "TestALoginIsDoneWithItsTokens", "TestALoginThatEndsWithoutTokens"
	mutants = append(mutants, []mutant{
		{name: "logins for ever", file: login, old: "if ttl is null or ttl < '1 second' or ttl > '1 hour' then", new: "if false then", run: one},
		{name: "logins of no profile", file: login, old: "if not exists (select 1 from towpath.profile x", new: "if false and not exists (select 1 from towpath.profile x", run: one},
		{name: "a login without a job", file: login, old: "  values (job, 'login', towpath.queue_of('login'), jsonb_build_object('login_id', l.id), 25, towpath.tags(profile, null));", new: "  select job, 'login', towpath.queue_of('login'), jsonb_build_object('login_id', l.id), 25, towpath.tags(profile, null) where false;", run: one},
		{name: "a login that nobody takes on is handed out", file: login, old: "  perform towpath.login_expire();\n", new: "", run: ends},
		{name: "what has ended goes on", file: login, old: "elsif l.outcome is not null then", new: "elsif false then", run: done},
		{name: "what has expired goes on", file: login, old: "elsif l.expires_at <= towpath.now() then", new: "elsif false then", run: ends},
		{name: "two codes", file: login, old: "  if l.flow is not null then\n", new: "  if false then\n", run: done},
		{name: "a code that is not shown", file: login, old: "  perform towpath.login_offer(key, verification_url, user_code);\n", new: "", run: done},
		{name: "tokens without the flow", file: login, old: "  perform towpath.login_consume('device', l.flow, l.target, issuer, null, holder);\n", new: "", run: done},
		{name: "done without tokens", file: login, old: "  perform towpath.credential_put(l.target, issuer, secret, expires_at);\n", new: "", run: done},
		{name: "done, and in the way", file: login, old: "set outcome = 'done', ended_at = towpath.now(), detail = null", new: "set outcome = 'done', ended_at = towpath.now()", run: done},
		{name: "notes that are not kept", file: login, old: "set detail = nullif(left(login_note.detail, 1000), '')", new: "set detail = null", run: "TestALoginSaysWhatIsInTheWay"},
		{name: "any end of a login", file: login, old: "if outcome is null or outcome not in ('denied', 'expired', 'cancelled', 'failed') then", new: "if false then", run: one},
		{name: "it ends twice", file: login, old: "where x.id = login_end.id and x.outcome is null for", new: "where x.id = login_end.id for", run: done},
		{name: "a flow outlives its login", file: login, old: "where x.kind = 'device' and x.key = l.flow and x.spent_at is null;", new: "where false;", run: ends},
		{name: "a job outlives its login", file: login, old: "  perform towpath.end_job(l.river_job_id, 'cancelled');\n", new: "", run: ends},
		{name: "logins never lapse", file: login, old: "and (x.expires_at <= t or not", new: "and (false or not", run: ends},
		{name: "logins without a job wait", file: login, old: "not exists (select 1 from :river.river_job j where", new: "false and not exists (select 1 from :river.river_job j where", run: ends},
		{name: "ended logins stay", file: login, old: "where x.ended_at <= t - interval '1 day'", new: "where false", run: ends},
		{name: "a login outlives its credential", file: "functions/login_flow.sql", old: "and l.target = login_release.target and f.provider = login_release.provider and l.outcome is null;", new: "and false;", run: ends},
	}...)
}
