create or replace function towpath.create_run(profile text, session text default null, idempotency_key text default null, options jsonb default '{}')
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s      towpath.session;
  wrong  text := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "id": {"type": "string"}, "tenant": {"type": "string"}, "project": {"type": "string"}, "metadata": {"type": "object"}}}', 'options');
  slot   bytea := towpath.digest(idempotency_key);
  opened text := session;
  known  boolean;
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'options are id, tenant, project, metadata');
  end if;
  if coalesce(profile, '') = '' then
    perform towpath.fail('TW400', 'profile is missing', 'name a backend, for example deepseek; towpath.profiles lists them');
  end if;
  if options ->> 'tenant' = '' or options ->> 'project' = '' then
    perform towpath.fail('TW400', 'tenant or project is empty');
  end if;
  perform towpath.check_payload(coalesce(options -> 'metadata', '{}'), 'metadata', idempotency_key);
  if session is null then
    -- The same key or id opens the same session, however many ask at once.
    opened := case when idempotency_key is null and not options ? 'id' then towpath.new_id('s')
      else 's_' || encode(towpath.digest(jsonb_build_object('run', coalesce(idempotency_key, options ->> 'id'),
                                                            'tenant', options -> 'tenant', 'project', options -> 'project')), 'hex') end;
  end if;
  s := towpath.enter_session(opened, profile, options ->> 'tenant', options ->> 'project');
  known := exists (select 1 from towpath.process p
                   where p.id = options ->> 'id' or p.tenant = s.tenant and p.project = s.project and p.key_digest = slot);
  if not known then
    perform towpath.check_profile(profile);
    perform towpath.check_open(s, 'run');
  end if;
  return towpath.begin_process('run', 'rerunnable',
    jsonb_build_object('profile', profile, 'metadata', towpath.redact(coalesce(options -> 'metadata', '{}'))),
    jsonb_strip_nulls(jsonb_build_object('id', options -> 'id', 'tenant', s.tenant, 'project', s.project, 'session', s.id,
                                         'idempotency_key', idempotency_key)));
end $$;
comment on function towpath.create_run(text, text, text, jsonb) is
'Opens a run in a session, or in a new one, and returns its process id. Its commands are its inputs, its turns its children. The same idempotency_key and request give the same run. options: id, tenant, project, metadata.';

create or replace function towpath.locked_run(run text) returns towpath.process
language plpgsql as $$
declare
  r towpath.process := towpath.locked(run);
begin
  if r.class <> 'run' then
    perform towpath.fail('TW404', format('process "%s" is a %s, not a run', r.id, r.class));
  end if;
  return r;
end $$;
comment on function towpath.locked_run(text) is 'Locks a run''s session, then the run.';

create or replace function towpath.check_run(r towpath.process) returns void
language plpgsql as $$
begin
  if r.finalized_at is not null then
    perform towpath.fail('TW409', format('run "%s" is %s', r.id, concat_ws(': ', r.status, r.failure_kind)), 'open another run in its session');
  end if;
  if r.cancel_requested_at is not null then
    perform towpath.fail('TW409', format('run "%s" is being cancelled', r.id), 'open another run in its session');
  end if;
end $$;
comment on function towpath.check_run(towpath.process) is 'Refuses new work in a run that has ended or is about to.';

create or replace function towpath.end_turns(r towpath.process, reason text) returns void
language plpgsql as $$
declare
  p towpath.process;
begin
  perform 1 from towpath.process x where x.parent_id = r.id and x.finalized_at is null order by x.no for no key update;
  for p in select * from towpath.process x where x.parent_id = r.id and x.finalized_at is null order by x.turn_no desc loop
    perform towpath.cancel(p.id, reason);
  end loop;
end $$;
comment on function towpath.end_turns(towpath.process, text) is 'Cancels the turns of a locked run, the last first, so that none moves up only to be cancelled.';

create or replace function towpath.cancel_run(run text, reason text default 'cancel requested') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  r towpath.process := towpath.locked_run(run);
begin
  if coalesce(reason, '') = '' then
    perform towpath.fail('TW400', 'reason is missing', 'say why; it is recorded');
  end if;
  if r.finalized_at is not null or r.cancel_requested_at is not null then
    return r.status;
  end if;
  perform towpath.end_turns(r, reason);
  update towpath.process x set cancel_requested_at = towpath.now(), cancel_reason = towpath.redact_text(reason), cancel_deadline = towpath.now(),
    updated_at = towpath.now() where x.no = r.no;
  perform towpath.note(r.no, 'process.cancel_requested', jsonb_build_object('reason', reason));
  perform towpath.settle_run(r.id);
  return (select x.status from towpath.process x where x.no = r.no);
end $$;
comment on function towpath.cancel_run(text, text) is
'Cancels a run with all its commands and returns its status: at once where nothing runs, else when its running turn has ended. Asking again changes nothing.';

create or replace function towpath.settle_run(run text) returns void
language plpgsql as $$
declare
  r towpath.process;
begin
  select * into r from towpath.process x where x.id = run and x.class = 'run' and x.finalized_at is null for no key update;
  if r.cancel_requested_at is not null and not exists (select 1 from towpath.process x where x.parent_id = r.id and x.finalized_at is null) then
    perform towpath.finalize(r.no, 'cancelled', jsonb_build_object('reason', r.cancel_reason));
  end if;
end $$;
comment on function towpath.settle_run(text) is 'Ends a cancelled run once none of its turns is left.';

create or replace function towpath.finish_run(run text, status text, outcome jsonb default '{}', failure_kind text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  r    towpath.process := towpath.locked_run(run);
  busy text;
begin
  if status is null or status not in ('completed', 'failed') then
    perform towpath.fail('TW400', format('"%s" is not completed or failed', coalesce(status, '')), 'cancel_run cancels');
  end if;
  if (status = 'failed') <> (coalesce(failure_kind, '') <> '') then
    perform towpath.fail('TW400', 'a failure kind goes with status failed, and only with it');
  end if;
  perform towpath.check_payload(outcome, 'outcome', null);
  if r.finalized_at is not null then
    if (r.status, r.failure_kind) is distinct from (finish_run.status, finish_run.failure_kind) or r.outcome <> towpath.event_data(outcome::text) then
      perform towpath.fail('TW409', format('run "%s" is %s%s', r.id, r.status, coalesce(' (' || r.failure_kind || ')', '')), 'a run ends once');
    end if;
    return r.status;
  end if;
  select p.id into busy from towpath.process p join towpath.lease l on l.process_no = p.no where p.parent_id = r.id limit 1;
  if busy is not null then
    perform towpath.fail('TW409', format('turn "%s" of run "%s" is being executed', busy, r.id), 'wait for its end, or cancel the run');
  end if;
  if r.cancel_requested_at is not null then
    perform towpath.fail('TW409', format('run "%s" is being cancelled', r.id));
  end if;
  perform towpath.end_turns(r, 'the run has ended');
  perform towpath.finalize(r.no, status, outcome, failure_kind);
  return status;
end $$;
comment on function towpath.finish_run(text, text, jsonb, text) is
'Ends a run; its commands that have not begun are cancelled with it. The same end again is answered, another one is an error; so is one while a turn is being executed.';
