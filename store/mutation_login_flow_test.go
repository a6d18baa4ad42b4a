package store_test

func init() {
	owned = append(owned, "functions/login_flow.sql", "functions/runtime_record.sql")
	const login, runtime = "functions/login_flow.sql", "functions/runtime_record.sql"
	mutants = append(mutants, []mutant{
		{name: "logins of any kind", file: login, old: "if kind is null or kind not in ('browser', 'device') then", new: "if false then", run: "TestWhatIsNoLogin"},
		{name: "secrets in the clear", file: login, old: "  if secret is null or length(secret) not between 33 and 65536 or get_byte(secret, 0) <> 1 then", new: "  if false then", run: "TestLoginSecretsAreEncrypted"},
		{name: "admissions pass each other", file: login, old: "  perform pg_advisory_xact_lock(hashtextextended('towpath login_admit', 0));\n", new: "", run: "TestAnAdmissionWaitsForTheOneBeforeIt"},
		{name: "no capacity of logins", file: login, old: ">= capacity then", new: "> 100000 then", run: "TestLoginsUnderACapacity"},
		{name: "expired logins take room", file: login, old: "  perform towpath.login_expire();\n  t :=", new: "  t :=", run: "TestLoginsUnderACapacity"},
		{name: "consumed logins take room", file: login, old: "from towpath.login_flow x where x.spent_at is null) >=", new: "from towpath.login_flow x) >=", run: "TestLoginsUnderACapacity"},
		{name: "consumed logins come back", file: login, old: "    if f.spent_at is not null then\n      perform towpath.fail('TW409', 'the login flow was consumed', 'begin another one');\n    end if;\n", new: "    if f.spent_at is not null then\n      return true;\n    end if;\n", run: "TestOneConsumesALogin"},
		{name: "another provider", file: login, old: "case when f.provider <> match_login.provider then 'provider'\n                     when", new: "case when", run: "TestALoginThatCouldNotBeConsumedStays"},
		{name: "another redirect", file: login, old: "when f.redirect_uri is distinct from match_login.redirect_uri then 'redirect_uri' end;", new: "end;", run: "TestALoginThatCouldNotBeConsumedStays"},
		{name: "consumed without a lock", file: login, old: "x.key = live_login.key for no key update;", new: "x.key = live_login.key;", run: "TestOneConsumesALogin"},
		{name: "an expired login is live", file: login, old: "elsif not found or f.expires_at <= towpath.now() then", new: "elsif not found then", run: "TestLoginsUnderACapacity"},
		{name: "two poll", file: login, old: "if f.poller <> holder and f.poll_until > towpath.now() then", new: "if false then", run: "TestOnePollsADeviceLogin"},
		{name: "a poll is for ever", file: login, old: "if f.poller <> holder and f.poll_until > towpath.now() then", new: "if f.poller <> holder then", run: "TestOnePollsADeviceLogin"},
		{name: "a poll that is not extended", file: login, old: "set poller = holder, poll_until = towpath.now() + hold", new: "set poller = holder, poll_until = coalesce(x.poll_until, towpath.now() + hold)", run: "TestOnePollsADeviceLogin"},
		{name: "anybody frees a poll", file: login, old: " and x.poller = login_unpoll.holder returning 1)", new: " returning 1)", run: "TestOnePollsADeviceLogin"},
		{name: "consumed over its poller", file: login, old: "if f.poller is distinct from holder and f.poll_until > towpath.now() then", new: "if false then", run: "TestOnePollsADeviceLogin"},
		{name: "consumed logins keep their secret", file: login, old: "  update towpath.login_flow x set secret = null, spent_at = towpath.now(), poller = null, poll_until = null where x.kind = f.kind and x.key = f.key;\n", new: "", run: "TestOneConsumesALogin"},
		{name: "others' logins are released", file: login, old: "and x.provider = login_release.provider and x.spent_at is null returning 1)", new: "and x.provider <> login_release.provider and x.spent_at is null returning 1)", run: "TestLoginsUnderACapacity"},
		{name: "expired logins stay", file: login, old: "where x.expires_at <= towpath.now() order by", new: "where false order by", run: "TestLoginsUnderACapacity"},
		// runtimes
		{name: "records keep keys", file: runtime, old: "e.key ~* '(key|token|secret|passw|passphrase|credential|cookie|auth)'", new: "false", run: "TestWritersOfARuntimeSeeEachOther"},
		{name: "times before time", file: runtime, old: "not between 0 and 253402300799999 then", new: "is null then", run: "TestWhatIsNoRuntime"},
		{name: "a record loses its host", file: runtime, old: "'host', r.host, 'incarnation'", new: "'incarnation'", run: "TestARuntimeRecordFromSetToDelete"},
		{name: "records of any shape", file: runtime, old: "  if wrong is not null then", new: "  if false then", run: "TestWhatIsNoRuntime"},
		{name: "what is left out stays", file: runtime, old: "env = excluded.env, session = excluded.session,", new: "env = coalesce(excluded.env, r.env), session = excluded.session,", run: "TestARuntimeRecordFromSetToDelete"},
		{name: "versions are not compared", file: runtime, old: "  where expected_version is null or r.version = expected_version\n", new: "", run: "TestWritersOfARuntimeSeeEachOther"},
		{name: "any status follows", file: runtime, old: "if changes ? 'status' and changes ->> 'status' <> r.status and not", new: "if false and not", run: "TestStatusesOfARuntime"},
		{name: "unknown ones are stopped", file: runtime, old: "where r.id = runtime_stop.id and r.status = 'running' returning 1)", new: "where r.id = runtime_stop.id returning 1)", run: "TestStatusesOfARuntime"},
		{name: "two locators", file: runtime, old: "if num_nonnulls(id, session, adapter_session) <> 1 then", new: "if num_nonnulls(id, session, adapter_session) = 0 then", run: "TestARuntimeByExactlyOneLocator"},
		{name: "the first of a session", file: runtime, old: "order by r.status = 'running' desc, r.started_at desc, r.id limit 1);", new: "order by r.started_at, r.id limit 1);", run: "TestARuntimeByExactlyOneLocator"},
		{name: "every delete is one", file: runtime, old: "where r.id = runtime_delete.id returning 1) select exists (select 1 from gone)", new: "where r.id = runtime_delete.id returning 1) select true or exists (select 1 from gone)", run: "TestDeletingARuntimeThatIsNotThere"},
		{name: "a page of runtimes by moment", file: runtime, old: "format(' and (r.started_at, r.id) > (%L::timestamptz, %L)', part[1], part[2])", new: "format(' and r.started_at > %L::timestamptz', part[1])", run: "TestListsOfRuntimes"},
		{name: "others' runtimes are unknown", file: runtime, old: "(o.id is null or o.stopped_at is not null or o.seen_at < towpath.now() - ttl))", new: "true)", run: "TestASupervisorThatBeginsReconciles"},
		{name: "silent hosts are live", file: runtime, old: " or o.seen_at < towpath.now() - ttl))", new: "))", run: "TestASupervisorThatBeginsReconciles"},
		{name: "its own of now are unknown", file: runtime, old: "and r.incarnation is distinct from runtime_reconcile.incarnation\n", new: "\n", run: "TestASupervisorThatBeginsReconciles"},
		{name: "running records are pruned", file: runtime, old: "where r.status <> 'running' and r.updated_at <", new: "where r.updated_at <", run: "TestRunningRecordsAreNotPruned"},
	}...)
}
