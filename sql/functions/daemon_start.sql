create or replace function towpath.daemon_start(name text, session text default null, idempotency_key text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  d    towpath.daemon;
  s    towpath.session;
  p    towpath.process;
begin
  if idempotency_key = '' or octet_length(idempotency_key) > 1048576 then
    perform towpath.fail('TW400', 'idempotency_key is empty or above 1 MiB');
  end if;
  select coalesce(daemon_start.session, x.spec ->> 'session') into daemon_start.session from towpath.daemon x where x.name = daemon_start.name;
  if session is not null then
    select * into s from towpath.session x where x.id = daemon_start.session for no key update;
    if not found then
      perform towpath.fail('TW404', format('unknown session "%s"', session));
    end if;
  end if;
  d := towpath.locked_daemon(name);
  select * into p from towpath.process x where x.key_digest = towpath.digest(idempotency_key) and x.class = 'daemon'
    and x.tenant = coalesce(s.tenant, 'default') and x.project = coalesce(s.project, 'default');
  if p.id is not null then
    if p.definition is distinct from d.name then
      perform towpath.fail('TW40I', 'idempotency_key was used for another daemon', format('process "%s" has it', p.id));
    end if;
    return p.id;
  end if;
  if s.runtime_state in ('stopped', 'destroyed') then
    perform towpath.fail('TW409', format('session "%s" is %s and starts nothing', s.id, s.runtime_state));
  end if;
  select * into p from towpath.process x where x.id = d.process_id and x.finalized_at is null;
  if found then
    perform towpath.fail('TW409', format('daemon "%s" is %s', d.name, case when p.cancel_requested_at is null then 'running' else 'stopping' end),
      case when p.cancel_requested_at is null then 'process ' || p.id || ' keeps it up; restart it, or stop it first' else 'wait until it has stopped' end);
  end if;
  d.process_id := towpath.begin_process('daemon', 'rerunnable', d.spec, jsonb_strip_nulls(jsonb_build_object(
    'session', s.id, 'idempotency_key', idempotency_key, 'definition', d.name, 'kind', 'daemon', 'label', d.name,
    'originator', case when s.id is not null then jsonb_build_object('session', s.id) end,
    'max_attempts', 1 + coalesce((d.spec ->> 'restarts')::int, 5))));
  update towpath.daemon x set process_id = d.process_id, restart_of = null where x.name = d.name;
  return d.process_id;
end $$;
comment on function towpath.daemon_start(text, text, text) is
'Starts a registered daemon, for a session or, without one, for its spec''s owner, and returns the new process. Refused while it runs or stops. The same idempotency key gives the same process.';

create or replace function towpath.locked_daemon(name text) returns towpath.daemon
language plpgsql volatile as $$
declare
  d towpath.daemon;
begin
  select * into d from towpath.daemon x where x.name = locked_daemon.name for update;
  if not found then
    perform towpath.fail('TW404', format('unknown daemon "%s"', left(coalesce(name, ''), 100)), 'an operator registers it with towpath.spec_put, or `worker daemon spec`');
  end if;
  return d;
end $$;
comment on function towpath.locked_daemon(text) is 'Locks a registered daemon by name: before its process, after its session.';

create or replace function towpath.owned_daemon(name text, session text, out process_id text)
language plpgsql volatile as $$
declare
  d towpath.daemon;
  p towpath.process;
begin
  perform 1 from towpath.session s where s.id = session or s.id in (
    select v.id from towpath.daemon y left join towpath.process x on x.id = y.process_id, unnest(array[y.spec ->> 'session', x.session_id]) v(id)
    where y.name = owned_daemon.name) order by s.id for no key update;
  d := towpath.locked_daemon(name);
  select * into p from towpath.process x where x.id = d.process_id;
  if p.session_id is not null and p.session_id is distinct from coalesce(session, d.spec ->> 'session') and p.finalized_at is null then
    perform towpath.fail('TW403', format('daemon "%s" belongs to session "%s"', d.name, p.session_id), 'name its session, or cancel its process');
  end if;
  process_id := p.id;
end $$;
comment on function towpath.owned_daemon(text, text) is 'Locks a daemon for its owner, and returns the process of its newest start; null when it never ran.';

create or replace function towpath.daemon_restart(name text, session text default null, idempotency_key text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  id text := towpath.owned_daemon(name, session);
  p  towpath.process;
begin
  if id is not null then
    p := towpath.locked(id);
  end if;
  if id is null or p.finalized_at is not null then
    return towpath.daemon_start(name, session, idempotency_key);
  end if;
  if p.cancel_requested_at is not null then
    perform towpath.fail('TW409', format('daemon "%s" is stopping', name), 'wait until it has stopped, then start it');
  end if;
  if p.status = 'waiting' then
    perform towpath.fail('TW409', format('daemon "%s" may be running on a machine whose worker is gone', name),
      'start a worker there, or say with towpath.resume that it is dead');
  end if;
  -- The registered spec, and a budget as of the first start: a person asked.
  update towpath.process x set spec = d.spec, max_attempts = 1 + coalesce((d.spec ->> 'restarts')::int, 5), attempts_spent = 0, updated_at = towpath.now()
  from towpath.daemon d where d.name = daemon_restart.name and x.no = p.no;
  if p.status = 'running' then
    update towpath.daemon x set restart_of = p.attempt where x.name = daemon_restart.name;
    perform towpath.wake('towpath_control', p.id);
  elsif p.status = 'backoff' then
    update towpath.process x set status = 'queued', next_attempt_at = null, updated_at = towpath.now() where x.no = p.no;
    perform towpath.note(p.no, 'process.requeued', jsonb_build_object('reason', 'restart asked', 'attempt', p.attempt));
    perform towpath.enqueue(p.id);
  end if;
  return p.id;
end $$;
comment on function towpath.daemon_restart(text, text, text) is
'Has a daemon''s child replaced, at once also where it waits for a restart, with its spec as registered now; one that does not run is started. Costs nothing of the budget. Returns the process.';
