create or replace function towpath.put_snapshot(session text, keys text[], vals bytea[], expected_version bigint) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s towpath.session;
begin
  select * into s from towpath.session x where x.id = put_snapshot.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  if s.quarantine is not null then
    perform towpath.fail('TW423', format('session "%s" is quarantined: %s', s.id, s.quarantine), 'an operator releases it with towpath.release_quarantine');
  end if;
  if s.runtime_state = 'destroyed' then
    perform towpath.fail('TW409', format('session "%s" is destroyed', s.id));
  end if;
  -- A turn that has begun decides at its end what the session is.
  if exists (select 1 from towpath.process p where p.id = s.active_process and p.first_started is not null) then
    perform towpath.fail('TW409', format('process "%s" of session "%s" has begun', s.active_process, s.id), 'write between turns, or steer it');
  end if;
  return (towpath.apply_delta(s.id, expected_version, keys, vals)).version;
end $$;
comment on function towpath.put_snapshot(text, text[], bytea[], bigint) is
'Changes keys of a session''s snapshot between turns, by compare-and-swap on its version, and returns the new one. An empty value deletes its key. It is no boundary and leaves no receipt.';

create or replace function towpath.kv_put(session text, key text, value bytea, expected_version bigint) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  select towpath.put_snapshot(session, array[key], array[value], expected_version)
$$;
comment on function towpath.kv_put(text, text, bytea, bigint) is 'Writes one key of a session''s snapshot between turns, by compare-and-swap on the session''s version. Returns the new version.';

create or replace function towpath.kv_list(session text, prefix text default '', after text default '', max integer default 1000)
returns table (key text, bytes integer, version bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if max is null or max not between 1 and 10000 then
    perform towpath.fail('TW400', 'max is not between 1 and 10000');
  end if;
  if not exists (select 1 from towpath.session s where s.id = session) then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  return query select kv.key, octet_length(kv.value), kv.version from towpath.session_kv kv
               where kv.session_id = session and starts_with(kv.key, prefix) and kv.key > after order by kv.key limit max;
end $$;
comment on function towpath.kv_list(text, text, text, integer) is
'Keys of a session''s snapshot in order, with size and the session version that wrote them. after: the last key of the page before.';
