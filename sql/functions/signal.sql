create or replace function towpath.check_signal(name text) returns void
language plpgsql immutable as $$
begin
  if name is null or name !~ '^[A-Za-z0-9_-]{1,93}$' then
    perform towpath.fail('TW400', format('"%s" is not the name of a signal', coalesce(left(name, 100), '')), '1 to 93 letters, digits, _ and -');
  end if;
end $$;
comment on function towpath.check_signal(text) is 'Refuses what is not the name of a signal.';

create or replace function towpath.signal(process_id text, name text, signal_id text, data jsonb default '{}', scope text default null)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p   towpath.process;
  nth integer;
  at  bigint;
begin
  perform towpath.check_signal(name);
  if coalesce(signal_id, '') = '' or octet_length(signal_id) > 1000000 then
    perform towpath.fail('TW400', 'signal_id is missing, or above 1 MB', 'any text that names this one signal, so that it can be sent again');
  end if;
  if scope is not null then
    perform towpath.check_scope(scope);
  end if;
  p := towpath.locked(process_id);
  if scope is not null and not exists (select 1 from towpath.share h where h.scope = signal.scope and h.process_no = p.no) then
    perform towpath.fail('TW403', format('process "%s" is not shared with "%s"', p.id, scope), 'towpath.share lets a scope address a process');
  end if;
  at := towpath.put_event(p, 'signal.' || name, data, 'signal:' || name || ':' || signal_id, null);
  if at <= p.last_seq then
    return at; -- sent before
  end if;
  insert into towpath.signal (process_no, name, ordinal, seq)
  select p.no, signal.name, coalesce(max(x.ordinal), 0) + 1, at from towpath.signal x where x.process_no = p.no and x.name = signal.name
  returning ordinal into nth;
  if p.status = 'waiting' and p.wait @> jsonb_build_object('kind', 'signal', 'name', name, 'ordinal', nth) then
    perform towpath.resume(p.id);
  end if;
  return at;
end $$;
comment on function towpath.signal(text, text, text, jsonb, text) is
'Sends a signal to a process, which has declared event type signal.NAME for it, and returns its sequence number. The same signal_id and content is the same signal, other content an error. The Nth signal of a name answers the Nth wait for it, whichever comes first. scope: who sends it; the process must be shared with that. Null is the host, which needs no share.';

create or replace function towpath.wait_signal(process_no bigint, fence bigint, name text, ordinal integer default 1, out seq bigint, out data jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
begin
  perform towpath.check_signal(name);
  if ordinal is null or ordinal < 1 then
    perform towpath.fail('TW400', 'ordinal is not 1 or above', 'the first wait for a name is number 1');
  end if;
  p := towpath.owned(process_no, fence);
  if not exists (select 1 from towpath.event_type t where t.process_no = p.no and t.name = 'signal.' || wait_signal.name) then
    perform towpath.fail('TW400', format('process "%s" has not declared signal "%s"', p.id, name), format('declare event type "signal.%s" at the start', name));
  end if;
  select e.seq, e.data into seq, data from towpath.signal x join towpath.event e on e.process_no = x.process_no and e.seq = x.seq
  where x.process_no = p.no and x.name = wait_signal.name and x.ordinal = wait_signal.ordinal;
  if not found then
    perform towpath.park(p.no, fence, jsonb_build_object('kind', 'signal', 'name', name, 'type', 'signal.' || name, 'ordinal', ordinal, 'since', towpath.now()));
  end if;
end $$;
comment on function towpath.wait_signal(bigint, bigint, text, integer) is
'The owner waits for the Nth signal of a name. It has come: its event. Else nulls, and the process is parked: its lease is gone, it takes no slot, and the signal puts it back in its queue. Who begins anew counts anew, and so sees the same signals in the same order.';
