create or replace function towpath.number_change() returns trigger
language plpgsql as $$
begin
  if new is not distinct from old then
    return new;
  end if;
  new.change_no := nextval('towpath.session_change_seq');
  new.change_xid := pg_current_xact_id();
  return new;
end $$;
comment on function towpath.number_change() is 'Every change of a session gets a number above all that it had, and its place in the change feed.';

create or replace trigger towpath_change before update on towpath.session
  for each row execute function towpath.number_change();

create or replace function towpath.guard_runtime_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not coalesce(case old.runtime_state
    when 'idle'    then new.runtime_state in ('retired', 'stopped', 'destroyed')
    when 'retired' then new.runtime_state in ('idle', 'stopped', 'destroyed')
    when 'stopped' then new.runtime_state in ('idle', 'destroyed')
  end, false) then
    perform towpath.fail('TW409', format('session "%s" cannot go from %s to %s', old.id, old.runtime_state, new.runtime_state));
  end if;
  return new;
end $$;
comment on function towpath.guard_runtime_state() is
'Refuses a runtime state that its state before does not allow. That a turn runs is a fact about a lease, and is never stored.';

create or replace trigger towpath_runtime before update of runtime_state on towpath.session
  for each row when (old.runtime_state is distinct from new.runtime_state) execute function towpath.guard_runtime_state();

create or replace function towpath.follow_process() returns trigger
language plpgsql as $$
declare
  t timestamptz;
begin
  if new.class <> 'turn' and old.finalized_at is null and new.finalized_at is not null then
    perform towpath.note_completion(new.no, new.kind, new.finalized_at);
  end if;
  if new.class <> 'turn' or new.finalized_at is not null or old.status = new.status and old.attempt = new.attempt then
    return null;
  end if;
  t := towpath.now();
  if new.attempt > old.attempt then
    perform towpath.bind_waiting(new.session_id, new.no);
    if new.parent_id is not null then
      update towpath.process p set status = 'running', updated_at = t,
        first_started = coalesce(p.first_started, new.first_started) where p.id = new.parent_id and p.class = 'run' and p.status = 'queued';
      if found then
        perform towpath.note(p.no, 'process.started', jsonb_build_object('turn', new.id)) from towpath.process p where p.id = new.parent_id;
      end if;
    end if;
  end if;
  if new.attempt = old.attempt then
    update towpath.session s set updated_at = t where s.id = new.session_id;
  end if;
  return null;
end $$;
comment on function towpath.follow_process() is
'Whoever moves a turn has its session locked; the session, and the run that the turn is part of, follow in the same transaction; at its end finalize does this. The end of another process is told to the session that waits for it.';

create or replace trigger towpath_follow after update of status, attempt on towpath.process
  for each row execute function towpath.follow_process();

-- At the end of the transaction, when the worker that claims the turn has been answered already and begins with it; the
-- functions have returned by then, and with them their rights.
create or replace function towpath.follow_claim() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update towpath.session s set updated_at = towpath.now() where s.id = new.session_id and new.class = 'turn' and new.attempt <> old.attempt;
  return null;
end $$;
comment on function towpath.follow_claim() is 'A session changes with each attempt of its turn.';

drop trigger if exists towpath_claim on towpath.process;
create constraint trigger towpath_claim after update of attempt on towpath.process
  deferrable initially deferred for each row execute function towpath.follow_claim();

create or replace view towpath.sessions as
  select s.id, s.tenant, s.project, s.profile, s.version, s.runtime_state, s.active_process, s.quarantine, s.created_at, s.updated_at,
         s.change_no, s.title, s.metadata,
         case when s.runtime_state = 'destroyed' then 'destroyed'
              when l.process_no is not null then case s.runtime_state when 'stopped' then 'stopping' else 'running' end
              else s.runtime_state end as state,
         r.id as active_run, s.last_process, s.last_status, s.last_failure, s.storage
  from towpath.session s
  left join towpath.process p on p.id = s.active_process
  left join towpath.lease l on l.process_no = p.no
  left join lateral (select x.id from towpath.process x
                     where x.session_id = s.id and x.class = 'run' and x.finalized_at is null order by x.no desc limit 1) r on true;
comment on view towpath.sessions is
'Every session. version names its snapshot, change_no its newest visible change; state is its runtime state, or running, or stopping, while somebody executes its turn.';

create or replace function towpath.session_put(id text, profile text, options jsonb default '{}') returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s     towpath.session;
  wrong text := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "tenant": {"type": "string"}, "project": {"type": "string"}, "title": {"type": ["string", "null"]}, "metadata": {"type": "object"}}}', 'options');
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'options are tenant, project, title, metadata');
  end if;
  if options ->> 'tenant' = '' or options ->> 'project' = '' or length(options ->> 'title') > 500 or octet_length((options -> 'metadata')::text) > 65536 then
    perform towpath.fail('TW400', 'tenant or project is empty, title above 500 characters, or metadata above 64 KiB');
  end if;
  if not exists (select 1 from towpath.session x where x.id = session_put.id) then
    perform towpath.check_profile(profile);
  end if;
  s := towpath.enter_session(id, profile, options ->> 'tenant', options ->> 'project');
  update towpath.session x set updated_at = towpath.now(),
    title = case when options ? 'title' then towpath.redact_text(options ->> 'title') else x.title end,
    metadata = case when options ? 'metadata' then towpath.redact(options -> 'metadata') else x.metadata end
  where x.id = s.id returning * into s;
  return s.change_no;
end $$;
comment on function towpath.session_put(text, text, jsonb) is
'Opens a session, or changes its title and metadata, and returns its change number. options: tenant, project, title, metadata; what is left out stays. Tenant, project and profile never change.';
