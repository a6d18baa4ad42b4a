create or replace function towpath.append_event(process_id text, type text, data jsonb default '{}', key text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  return towpath.add_event(towpath.locked(process_id), type, data, key, null);
end $$;
comment on function towpath.append_event(text, text, jsonb, text) is
'Appends an event that the process has declared, from anybody but its executor, and returns its sequence number. The same key and content give the same event, other content an error.';

create or replace function towpath.append_owned(process_no bigint, fence bigint, type text, data jsonb default '{}', key text default null)
returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  return towpath.add_event(towpath.owned(process_no, fence), type, data, key, fence);
end $$;
comment on function towpath.append_owned(bigint, bigint, text, jsonb, text) is 'append_event for the executor, under its fence.';

create or replace function towpath.put_event(p towpath.process, type text, data jsonb, key text, fence bigint) returns bigint
language plpgsql as $$
declare
  stored jsonb;
  shape  jsonb;
  wrong  text;
  e      towpath.event;
  seq    bigint;
begin
  if data is null or jsonb_typeof(data) <> 'object' then
    perform towpath.fail('TW400', 'data is not a JSON object');
  end if;
  if octet_length(data::text) > 1048576 then
    perform towpath.fail('TW413', format('data has %s bytes, the limit is 1048576', octet_length(data::text)));
  end if;
  perform towpath.check_key(key);
  -- What is compared is what is stored: a second writer may have redacted less.
  stored := towpath.event_data(data::text);
  if key is not null then
    select * into e from towpath.event x where x.process_no = p.no and x.replay_key = towpath.digest(key);
    if found then
      if e.type = put_event.type and towpath.digest(e.data) = towpath.digest(stored) then
        return e.seq;
      end if;
      perform towpath.fail('TW40I', format('key was used for another event of process "%s"', p.id), format('event %s has it', e.seq));
    end if;
  end if;
  if p.finalized_at is not null then
    perform towpath.fail('TW409', format('process "%s" is %s and takes no event', p.id, p.status));
  end if;
  select t.schema into shape from towpath.event_type t where t.process_no = p.no and t.name = put_event.type;
  if not found then
    perform towpath.fail('TW400', format('process "%s" has not declared event type "%s"', p.id, coalesce(left(type, 100), '')),
      coalesce('declared: ' || (select string_agg(t.name, ', ' order by t.name) from towpath.event_type t where t.process_no = p.no),
               'event types are declared at the start'));
  end if;
  wrong := towpath.misfit(data, shape, 'data');
  if wrong is not null then
    perform towpath.fail('TW400', format('event "%s": %s', type, wrong));
  end if;
  seq := towpath.note(p.no, type, data, fence, towpath.digest(key));
  perform towpath.wake('towpath_events', p.id);
  return seq;
end $$;
comment on function towpath.put_event(towpath.process, text, jsonb, text, bigint) is 'Appends a declared event to a locked process.';

create or replace function towpath.add_event(p towpath.process, type text, data jsonb, key text, fence bigint) returns bigint
language plpgsql as $$
begin
  if starts_with(type, 'process.') then
    perform towpath.fail('TW403', 'event types that begin with "process." are the database''s own');
  end if;
  if starts_with(type, 'signal.') then
    perform towpath.fail('TW403', 'event types that begin with "signal." are signals', 'towpath.signal sends one, so that a wait hears it');
  end if;
  return towpath.put_event(p, type, data, key, fence);
end $$;
comment on function towpath.add_event(towpath.process, text, jsonb, text, bigint) is 'Appends a declared event that anybody may write to a locked process.';

create or replace function towpath.check_key(key text) returns void
language plpgsql immutable as $$
begin
  if key = '' or octet_length(key) > 1048576 then
    perform towpath.fail('TW400', 'key is empty or above 1 MiB', 'any text that names this write');
  end if;
end $$;
comment on function towpath.check_key(text) is 'Refuses a key that names nothing, or is a document.';

create or replace function towpath.recent(process_id text, max integer default 32)
returns table (seq bigint, type text, data jsonb, at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select * from towpath.events(process_id, greatest((select p.last_seq from towpath.process p where p.id = process_id) - max, 0), max)
$$;
comment on function towpath.recent(text, integer) is 'The newest events of a process, oldest first; its row counts them all in last_seq.';
