package store_test

func init() {
	const life, states = "TestAnySequenceInTheLifeOfADaemon", "TestTheStatesOfADaemon"
	owned = append(owned, "functions/daemon_spec.sql", "functions/daemon_start.sql", "functions/daemon_stop.sql", "functions/daemon_status.sql",
		"functions/daemon_claim.sql", "functions/daemon_exit.sql", "functions/daemon_health.sql", "functions/daemon_adopt.sql", "functions/daemon_record.sql")
	mutants = append(mutants, []mutant{
		// specs
		{name: "any name will do", file: "functions/daemon_spec.sql", old: "if name is null or name !~ '^[a-z0-9][a-z0-9_-]{0,62}$' then", new: "if false then", run: "TestWhatCannotBeADaemon"},
		{name: "health of strangers", file: "functions/daemon_spec.sql", old: "(:[0-9]{1,5})?(/|$)' then", new: "' then", run: "TestWhatCannotBeADaemon"},
		{name: "any env", file: "functions/daemon_spec.sql", old: "or starts_with(k, 'TOWPATH_')", new: "", run: "TestWhatCannotBeADaemon"},
		{name: "a spec that runs is forgotten", file: "functions/daemon_spec.sql", old: "where p.id = d.process_id and p.finalized_at is null) then", new: "where false) then", run: "TestAKeyIsOneStart"},
		// start
		{name: "two daemons of one name", file: "functions/daemon_start.sql", old: "where x.id = d.process_id and x.finalized_at is null;", new: "where false;", run: "TestStartsAndStopsRace|" + life},
		{name: "starts do not wait for one another", file: "functions/daemon_start.sql", old: "where x.name = locked_daemon.name for update;", new: "where x.name = locked_daemon.name;", run: "TestStartsAndStopsRace"},
		{name: "a start key starts twice", file: "functions/daemon_start.sql", old: "x.key_digest = towpath.digest(idempotency_key) and", new: "false and", run: "TestAKeyIsOneStart"},
		{name: "a stopped session starts daemons", file: "functions/daemon_start.sql", old: "if s.runtime_state in ('stopped', 'destroyed') then", new: "if false then", run: "TestASessionsDaemonsAreItsOwn"},
		{name: "everybody owns a daemon", file: "functions/daemon_start.sql", old: "if p.session_id is not null and p.session_id is distinct", new: "if false and p.session_id is distinct", run: "TestASessionsDaemonsAreItsOwn"},
		{name: "a restart by a person is paid", file: "functions/daemon_start.sql", old: ", attempts_spent = 0, updated_at", new: ", updated_at", run: life},
		{name: "a restart of what may live elsewhere", file: "functions/daemon_start.sql", old: "if p.status = 'waiting' then", new: "if false then", run: "TestAChildThatMayLiveIsNotReplacedElsewhere"},
		// runtime records
		{name: "an end is not recorded", file: "functions/daemon_record.sql", old: "exit_code = record_daemon.code,", new: "exit_code = null,", run: "TestTheRecordOfADaemonIsTrue"},
		{name: "a lost daemon runs on record", file: "functions/daemon_exit.sql", old: "  perform towpath.record_daemon(p.no, 'unknown');\n", new: "", run: "TestTheRecordOfADaemonIsTrue"},
		// stop
		{name: "a stop is a wish of no weight", file: "functions/daemon_stop.sql", old: "  perform towpath.halt(id, reason);\n", new: "", run: "TestStartsAndStopsRace"},
		{name: "all is everybody's", file: "functions/daemon_stop.sql", old: "and x.session_id is not distinct from daemon_stop_all.session order", new: "order", run: "TestASessionsDaemonsAreItsOwn"},
		{name: "a session leaves daemons behind", file: "functions/session_control.sql", old: "      perform towpath.halt(p.id, p_reason);\n", new: "      null;\n", run: "TestASessionsDaemonsAreItsOwn"},
		// status
		{name: "what is lost is stopped", file: "functions/daemon_status.sql", old: "when p.status = 'waiting' then 'unknown'", new: "when p.status = 'waiting' then 'stopped'", run: "TestAChildThatMayLiveIsNotReplacedElsewhere"},
		{name: "up is ready", file: "functions/daemon_status.sql", old: "when c.ready_at is null then 'starting'", new: "when c.pid is null then 'starting'", run: states},
		// claim
		{name: "a child that may live is replaced", file: "functions/daemon_claim.sql", old: "if found and (c.pid is not null or", new: "if false and (c.pid is not null or", run: life},
		{name: "a lapsed lease is taken", file: "functions/daemon_claim.sql", old: "if p.status not in ('queued', 'backoff')", new: "if false", run: life},
		{name: "a port for two", sql: "drop index towpath.child_port", run: "TestTwoDaemonsOfAMachineNeverHaveOnePort"},
		{name: "every child is ready", file: "functions/daemon_claim.sql", old: "case when ready then coalesce", new: "case when true then coalesce", run: life},
		// exit
		{name: "a restart wins over a stop", file: "functions/daemon_exit.sql", old: "  if p.cancel_requested_at is not null then", new: "  if false then", run: "TestStartsAndStopsRace|" + life},
		{name: "restarts without end", file: "functions/daemon_exit.sql", old: "elsif spent >= p.max_attempts then", new: "elsif false then", run: states},
		{name: "nothing is forgiven", file: "functions/daemon_exit.sql", old: "spent := least(spent, 1);", new: "null;", run: states},
		{name: "all is forgiven", file: "functions/daemon_exit.sql", old: "if c.ready_at is not null and t - c.ready_at >= make_interval(secs => coalesce((p.spec ->> 'stable_s')::numeric, 60)::float8) then", new: "if true then", run: states},
		{name: "a good end is a failure", file: "functions/daemon_exit.sql", old: "elsif policy <> 'always' and code = 0 then", new: "elsif false then", run: "TestRestartPolicies"},
		{name: "restarts at once", file: "functions/daemon_exit.sql", old: "towpath.backoff(spent, coalesce((p.spec ->> 'backoff_s')::numeric, 60))", new: "'0'", run: life},
		{name: "no jitter", file: "functions/daemon_exit.sql", old: "random() * least", new: "least", run: "TestRestartPolicies"},
		{name: "no cap", file: "functions/daemon_exit.sql", old: "least(most, 2 ^ least(failures, 17))", new: "2 ^ least(failures, 17)", run: "TestRestartPolicies"},
		{name: "jobs do not say why", file: "functions/daemon_exit.sql", old: "metadata = j.metadata || facts", new: "metadata = j.metadata", run: states},
		{name: "a host's fault is paid", file: "functions/daemon_exit.sql", old: "  elsif refund then", new: "  elsif false then", run: life},
		{name: "what dies with its worker is left", file: "functions/daemon_exit.sql", old: "where c.process_no = p.no and c.outlives) then", new: "where c.process_no = p.no) then", run: "TestAChildThatMayLiveIsNotReplacedElsewhere"},
		// health
		{name: "strangers tell health", file: "functions/daemon_health.sql", old: "l.process_no = f.no and l.fence = f.fence", new: "l.process_no = f.no", run: states},
		{name: "health is no news", file: "functions/daemon_health.sql", old: "if r.health <> r.was and", new: "if false and", run: states},
		{name: "stops are not heard", file: "functions/daemon_health.sql", old: "and (p.cancel_requested_at is not null or d.restart_of", new: "and (d.restart_of", run: states},
		// adoption
		{name: "orphans of other machines", file: "functions/daemon_adopt.sql", old: "where c.machine = daemon_orphans.machine and", new: "where", run: life + "|TestAChildThatMayLiveIsNotReplacedElsewhere"},
		{name: "two adopt one", file: "functions/daemon_adopt.sql", old: "or p.attempt <> daemon_adopt.attempt or", new: "or", run: "TestAChildThatMayLiveIsNotReplacedElsewhere"},
		{name: "the sweep starts what may live", file: "functions/sweep.sql", old: "where x.process_no = p.no and x.outlives) then", new: "where false) then", run: life + "|TestAChildThatMayLiveIsNotReplacedElsewhere"},
		{name: "a stop forgets the child", file: "functions/cancel.sql", old: "where c.process_no = p.no and c.outlives)) then", new: "where false)) then", run: life + "|TestAChildThatMayLiveIsNotReplacedElsewhere"},
		{name: "dead children stay", file: "functions/requeue.sql", old: "delete from towpath.child c where c.process_no = p.no;", new: "null;", run: life + "|" + states},
		{name: "an end leaves its child", file: "functions/finalize.sql", old: "delete from towpath.child c where c.process_no = p_no;", new: "null;", run: life},
		{name: "a dead machine is paid", file: "functions/claim_process.sql", old: "greatest(x.attempts_spent - 1, 0)", new: "x.attempts_spent", run: "TestAChildThatMayLiveIsNotReplacedElsewhere"},
	}...)
}
