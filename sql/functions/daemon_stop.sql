create or replace function towpath.daemon_stop(name text, session text default null, reason text default 'stopped') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  id text := towpath.owned_daemon(name, session);
begin
  if id is null then
    return 'stopped';
  end if;
  perform towpath.halt(id, reason);
  return (select v.state from towpath.daemons v where v.name = daemon_stop.name);
end $$;
comment on function towpath.daemon_stop(text, text, text) is
'Stops a daemon and returns its state: stopped, or stopping until its worker has ended the child. Only its owner may: a session''s daemon needs the session. What waits for a restart never runs again. Asking again changes nothing.';

create or replace function towpath.halt(process_id text, reason text) returns text
language plpgsql volatile as $$
declare
  p towpath.process := towpath.locked(process_id);
begin
  if p.finalized_at is not null then
    return p.status;
  end if;
  update towpath.process x set desired_state = 'down' where x.no = p.no and x.desired_state <> 'down';
  return towpath.cancel(p.id, reason, make_interval(secs => coalesce((p.spec ->> 'grace_s')::numeric, 10)::float8));
end $$;
comment on function towpath.halt(text, text) is 'Wants a daemon''s process down: cancels it with the grace of its spec.';

create or replace function towpath.daemon_stop_all(session text, reason text default 'stopped') returns table (name text, state text, error text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p record;
begin
  perform 1 from towpath.session s where s.id = daemon_stop_all.session for no key update;
  if session is not null and not found then
    perform towpath.fail('TW404', format('unknown session "%s"', session));
  end if;
  for p in select x.id, x.definition from towpath.process x where x.class = 'daemon' and x.finalized_at is null
             and x.session_id is not distinct from daemon_stop_all.session order by x.no loop
    name := p.definition; error := null;
    begin
      state := case when towpath.halt(p.id, reason) = 'cancelled' then 'stopped' else 'stopping' end;
    exception
      when deadlock_detected or serialization_failure then raise;
      when others then
        state := null; error := sqlerrm;
    end;
    return next;
  end loop;
end $$;
comment on function towpath.daemon_stop_all(text, text) is
'Stops every daemon of a session, or with null those of no session, side by side; each has its own result: its state, or the error that kept it.';
