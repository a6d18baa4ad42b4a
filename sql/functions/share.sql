create or replace function towpath.scope_session(scope text) returns text
language sql immutable parallel safe as $$
  select case when starts_with(scope, 'session:') then split_part(substr(scope, 9), '/frame:', 1) end
$$;
comment on function towpath.scope_session(text) is 'The session that a scope is of; null for a host.';

create or replace function towpath.lock_processes(ids text[], sessions text[] default '{}') returns void
language plpgsql as $$
begin
  perform 1 from towpath.session s where s.id = any(sessions) or s.id in (select p.session_id from towpath.process p where p.id = any(ids))
  order by s.id for no key update;
  perform 1 from towpath.process p where p.id = any(ids) order by p.no for no key update;
end $$;
comment on function towpath.lock_processes(text[], text[]) is 'Locks these sessions and those of these processes, by id, then the processes, by number.';

create or replace function towpath.put_share(p_scope text, p_no bigint, p_descriptor jsonb, p_from text default null) returns boolean
language plpgsql as $$
declare
  s     towpath.session;
  fresh boolean;
begin
  perform towpath.check_scope(p_scope);
  if p_descriptor is null or jsonb_typeof(p_descriptor) <> 'object' then
    perform towpath.fail('TW400', 'descriptor is not a JSON object', 'pass ''{}'' or leave it out');
  elsif octet_length(p_descriptor::text) > 65536 then
    perform towpath.fail('TW413', 'descriptor is above 64 KiB');
  end if;
  if towpath.scope_session(p_scope) is not null then
    -- Whoever deletes the session waits for this, or this finds it gone.
    select * into s from towpath.session x where x.id = towpath.scope_session(p_scope) for key share;
    if not found then
      perform towpath.fail('TW404', format('scope "%s" is of no session', p_scope), 'submit, create_run and session_put open sessions');
    elsif s.runtime_state in ('retired', 'destroyed') then
      perform towpath.fail('TW409', format('session "%s" is %s and is given nothing', s.id, s.runtime_state));
    end if;
  end if;
  insert into towpath.share as h (scope, session_id, process_no, descriptor, from_scope, at)
  values (p_scope, s.id, p_no, p_descriptor, p_from, towpath.now())
  on conflict on constraint share_pkey do update set descriptor = excluded.descriptor, from_scope = excluded.from_scope, at = excluded.at
  returning xmax = 0 into fresh;
  return fresh;
end $$;
comment on function towpath.put_share(text, bigint, jsonb, text) is 'Writes a share of a process, or the new descriptor of one; true when it is new.';

create or replace function towpath.note_share(p towpath.process, type text, data jsonb) returns void
language plpgsql as $$
begin
  -- Nothing comes after an end; then the share itself is the record.
  if p.finalized_at is null then
    perform towpath.note(p.no, type, data);
    perform towpath.wake('towpath_events', p.id);
  end if;
end $$;
comment on function towpath.note_share(towpath.process, text, jsonb) is 'A locked process''s log says who may address it from now.';

create or replace function towpath.share(scope text, process_id text, descriptor jsonb default '{}') returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p     towpath.process;
  fresh boolean;
begin
  perform towpath.check_scope(scope);
  perform towpath.lock_processes(array[process_id], array[towpath.scope_session(scope)]);
  p := towpath.locked(process_id);
  fresh := towpath.put_share(scope, p.no, descriptor);
  if fresh then
    perform towpath.note_share(p, 'process.shared', jsonb_build_object('scope', scope));
  end if;
  return fresh;
end $$;
comment on function towpath.share(text, text, jsonb) is
'Lets a scope address a process; false when it could already, and then the descriptor is the new one. Any number of scopes may.';

create or replace function towpath.unshare(scope text, process_id text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
begin
  perform towpath.check_scope(scope);
  perform towpath.lock_processes(array[process_id], array[towpath.scope_session(scope)]);
  p := towpath.locked(process_id);
  delete from towpath.share h where h.scope = unshare.scope and h.process_no = p.no;
  if found then
    perform towpath.note_share(p, 'process.unshared', jsonb_build_object('scope', scope));
    return true;
  end if;
  return false;
end $$;
comment on function towpath.unshare(text, text) is 'Takes a share back; false when there was none. The process goes on, also when nobody may address it any more.';

create or replace function towpath.transfer(from_scope text, to_scope text, process_ids text[]) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  ids text[] := array(select distinct i from unnest(process_ids) i);
  p   towpath.process;
  has jsonb;
begin
  perform towpath.check_scope(from_scope);
  perform towpath.check_scope(to_scope);
  if from_scope = to_scope or coalesce(cardinality(ids), 0) not between 1 and 1000 or array_position(ids, null) is not null then
    perform towpath.fail('TW400', 'from and to are one scope, or process_ids are not 1 to 1000 ids');
  end if;
  perform towpath.lock_processes(ids, array[towpath.scope_session(from_scope), towpath.scope_session(to_scope)]);
  for p in select x.* from unnest(ids) i left join towpath.process x on x.id = i order by x.no loop
    delete from towpath.share h where h.scope = transfer.from_scope and h.process_no = p.no returning h.descriptor into has;
    if not found then
      perform towpath.fail('TW403', format('%s is not shared with "%s"', coalesce(format('process "%s"', p.id), 'one of the processes'), from_scope),
                           'nothing was moved; towpath.processes_list with shared_with lists what is');
    end if;
    perform towpath.put_share(to_scope, p.no, has, from_scope);
    perform towpath.note_share(p, 'process.transferred', jsonb_build_object('from', from_scope, 'to', to_scope));
  end loop;
  return cardinality(ids);
end $$;
comment on function towpath.transfer(text, text, text[]) is
'Moves shares of processes from one scope to another, all or none, each with its descriptor, and returns how many. Who originated a process does not change.';

create or replace function towpath.cancel_unshared(scope text, reason text default 'cancelled by request', grace interval default '10 seconds',
                                                   process_ids text[] default null, after text default '', max integer default 500)
returns table (process_id text, status text, shares bigint, error text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  ids text[] := process_ids;
  p   towpath.process;
begin
  perform towpath.check_scope(scope);
  if max is null or max not between 1 and 1000 or cardinality(ids) > 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000, or process_ids are more');
  end if;
  if ids is null then
    ids := array(select x.id from towpath.share h join towpath.process x on x.no = h.process_no
                 where h.scope = cancel_unshared.scope and x.finalized_at is null and x.id > coalesce(after, '') order by x.id limit max);
  end if;
  perform towpath.lock_processes(ids, array[towpath.scope_session(scope)]);
  foreach process_id in array ids loop
    status := null; shares := null; error := null;
    select * into p from towpath.process x where x.id = process_id;
    delete from towpath.share h where h.scope = cancel_unshared.scope and h.process_no = p.no;
    if not found then
      error := case when p.no is null then 'unknown process' else format('not shared with "%s"', scope) end;
    else
      perform towpath.note_share(p, 'process.unshared', jsonb_build_object('scope', scope));
      status := p.status;
      shares := (select count(*) from towpath.share h where h.process_no = p.no);
      if shares = 0 and p.finalized_at is null then
        select c.status, c.error into status, error from towpath.cancel_some(array[process_id], reason, grace) c;
      end if;
    end if;
    return next;
  end loop;
end $$;
comment on function towpath.cancel_unshared(text, text, interval, text[], text, integer) is
'Takes processes away from a scope, by default all that live, and cancels those that nobody else may address. Each has its own result: its status, the shares that are left, or the error that kept it. A batch at a time in the order of ids: go on after the last.';
