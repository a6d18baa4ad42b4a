create or replace function towpath.runtime_time(record jsonb, key text) returns timestamptz
language plpgsql immutable as $$
begin
  if (record ->> key)::numeric not between 0 and 253402300799999 then
    perform towpath.fail('TW400', format('%s is not a time', key), 'milliseconds since 1970');
  end if;
  return to_timestamp((record ->> key)::numeric / 1000);
end $$;
comment on function towpath.runtime_time(jsonb, text) is 'A time of a runtime record: milliseconds since 1970.';

create or replace function towpath.runtime_json(r towpath.runtime_record) returns jsonb
language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('id', r.id, 'client_id', r.client_id, 'status', r.status, 'cwd', r.cwd, 'command', r.command,
      'args', to_jsonb(r.args), 'session', r.session, 'adapter_session', r.adapter_session,
      'started_at', (extract(epoch from r.started_at) * 1000)::bigint, 'stopped_at', (extract(epoch from r.stopped_at) * 1000)::bigint,
      'exit_code', r.exit_code, 'exit_signal', r.exit_signal, 'host', r.host, 'incarnation', r.incarnation, 'version', r.version))
    || jsonb_build_object('pid', r.pid)
    -- Not stripped within: what a caller put there he gets back.
    || case when r.env is null then '{}' else jsonb_build_object('env', r.env) end
    || case when r.metadata is null then '{}' else jsonb_build_object('metadata', r.metadata) end
$$;
comment on function towpath.runtime_json(towpath.runtime_record) is 'A runtime record as runtime_set takes it, what is absent left out, with its version.';

create or replace function towpath.redact_env(env jsonb) returns jsonb
language sql immutable as $$
  select jsonb_object_agg(e.key, case when e.key ~* '(key|token|secret|passw|passphrase|credential|cookie|auth)' then '"[redacted]"' else towpath.redact(e.value) end)
  from jsonb_each(env) e
$$;
comment on function towpath.redact_env(jsonb) is 'An environment without the values of what is named like a credential, or looks like one.';

create or replace function towpath.check_runtime(record jsonb, required jsonb, allowed text[]) returns void
language plpgsql immutable as $$
declare
  shape jsonb := '{
    "id": {"type": "string"}, "client_id": {"type": "string"}, "pid": {"type": ["integer", "null"]},
    "status": {"enum": ["running", "stopped", "exited", "unknown"]}, "cwd": {"type": "string"}, "command": {"type": "string"},
    "args": {"type": "array", "items": {"type": "string"}}, "env": {"type": "object", "additionalProperties": {"type": "string"}},
    "session": {"type": "string"}, "adapter_session": {"type": "string"}, "started_at": {"type": "number"}, "stopped_at": {"type": "number"},
    "exit_code": {"type": "integer"}, "exit_signal": {"type": "string"}, "metadata": {"type": "object"},
    "host": {"type": "string"}, "incarnation": {"type": "string"}}';
  wrong text;
  k     text;
begin
  shape := (select jsonb_object_agg(e.key, e.value) from jsonb_each(shape) e where e.key = any(allowed));
  wrong := towpath.misfit(record, jsonb_build_object('type', 'object', 'required', required, 'additionalProperties', false, 'properties', shape), 'record');
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'keys are ' || array_to_string(allowed, ', '));
  end if;
  foreach k in array '{id,client_id,session,adapter_session,host}'::text[] loop
    if record ->> k = '' or length(record ->> k) > 200 or record ->> k ~ '[#[:cntrl:]]' then
      perform towpath.fail('TW400', format('record.%s is not a name', k), 'a string of 1 to 200 characters without # and control characters');
    end if;
  end loop;
  if (record ->> 'pid')::numeric not between 1 and 2147483647 or (record ->> 'exit_code')::numeric not between -2147483648 and 2147483647
     or length(record ->> 'exit_signal') > 50 or record ->> 'command' = '' then
    perform towpath.fail('TW400', 'pid, exit_code or exit_signal is out of range, or command is empty');
  end if;
  if record ? 'host' <> record ? 'incarnation' or record ->> 'incarnation' !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    perform towpath.fail('TW400', 'host and incarnation go together', 'a name for the supervisor, and a new uuid for each start of it');
  end if;
  if record ->> 'pid' is not null and record ->> 'status' <> 'running' then
    perform towpath.fail('TW400', format('what is %s has no pid', record ->> 'status'));
  end if;
  if octet_length(record::text) > 1048576 then
    perform towpath.fail('TW413', 'record is above 1 MiB');
  end if;
end $$;
comment on function towpath.check_runtime(jsonb, jsonb, text[]) is 'Refuses what no runtime record can be.';

create or replace function towpath.runtime_set(record jsonb, expected_version bigint default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  v bigint;
begin
  perform towpath.check_runtime(record, '["id", "client_id", "pid", "status", "cwd", "command", "args", "started_at"]',
    '{id,client_id,pid,status,cwd,command,args,env,session,adapter_session,started_at,stopped_at,exit_code,exit_signal,metadata,host,incarnation}');
  insert into towpath.runtime_record as r (id, client_id, pid, status, cwd, command, args, env, session, adapter_session, started_at, stopped_at,
                                           exit_code, exit_signal, metadata, host, incarnation, updated_at)
  select record ->> 'id', record ->> 'client_id', (record ->> 'pid')::int, record ->> 'status', record ->> 'cwd', record ->> 'command',
         array(select jsonb_array_elements_text(record -> 'args')), towpath.redact_env(record -> 'env'), record ->> 'session', record ->> 'adapter_session',
         towpath.runtime_time(record, 'started_at'), towpath.runtime_time(record, 'stopped_at'), (record ->> 'exit_code')::int, record ->> 'exit_signal',
         towpath.redact(record -> 'metadata'), record ->> 'host', (record ->> 'incarnation')::uuid, towpath.now()
  where expected_version is null or expected_version = 0 or exists (select 1 from towpath.runtime_record x where x.id = record ->> 'id')
  on conflict on constraint runtime_record_pkey do update set client_id = excluded.client_id, pid = excluded.pid, status = excluded.status,
    cwd = excluded.cwd, command = excluded.command, args = excluded.args, env = excluded.env, session = excluded.session,
    adapter_session = excluded.adapter_session, started_at = excluded.started_at, stopped_at = excluded.stopped_at, exit_code = excluded.exit_code,
    exit_signal = excluded.exit_signal, metadata = excluded.metadata, host = excluded.host, incarnation = excluded.incarnation,
    version = r.version + 1, updated_at = excluded.updated_at
  where expected_version is null or r.version = expected_version
  returning r.version into v;
  if v is null then
    perform towpath.fail('TW40V', format('runtime "%s" is not at version %s', record ->> 'id', expected_version), 'read it again');
  end if;
  return v;
exception when unique_violation then
  perform towpath.fail('TW409', 'another running runtime has this session or adapter_session', 'stop that one first');
end $$;
comment on function towpath.runtime_set(jsonb, bigint) is
'Inserts or replaces a runtime record whole: what is left out is cleared. record: id, client_id, pid (or null), status (running, stopped, exited, unknown), cwd, command, args, started_at (milliseconds), and optionally env, session, adapter_session, stopped_at, exit_code, exit_signal, metadata, host with incarnation. Values of env that are named like a credential are not kept. expected_version: replace only that one, 0 only insert. Returns its version.';

create or replace function towpath.runtime_update(id text, changes jsonb, expected_version bigint default null) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  r towpath.runtime_record;
begin
  if coalesce(id, '') = '' then
    perform towpath.fail('TW400', 'id is missing');
  end if;
  perform towpath.check_runtime(changes, '[]', '{pid,status,session,adapter_session,stopped_at,exit_code,exit_signal,metadata}');
  select * into r from towpath.runtime_record x where x.id = runtime_update.id for no key update;
  if not found then
    return false;
  end if;
  if r.version <> expected_version then
    perform towpath.fail('TW40V', format('runtime "%s" is at version %s, not %s', r.id, r.version, expected_version), 'read it again');
  end if;
  if changes ? 'status' and changes ->> 'status' <> r.status and not coalesce(case r.status
       when 'running' then true
       -- Evidence may still come; a stop that nobody made does not.
       when 'unknown' then changes ->> 'status' in ('running', 'exited') end, false) then
    perform towpath.fail('TW409', format('runtime "%s" is %s and cannot become %s', r.id, r.status, changes ->> 'status'));
  end if;
  if changes ->> 'pid' is not null and coalesce(changes ->> 'status', r.status) <> 'running' then
    perform towpath.fail('TW409', format('runtime "%s" is %s and has no pid', r.id, coalesce(changes ->> 'status', r.status)));
  end if;
  if changes <> '{}' then
    update towpath.runtime_record x set
      status = coalesce(changes ->> 'status', x.status),
      pid = case when coalesce(changes ->> 'status', x.status) <> 'running' then null when changes ? 'pid' then (changes ->> 'pid')::int else x.pid end,
      session = coalesce(changes ->> 'session', x.session), adapter_session = coalesce(changes ->> 'adapter_session', x.adapter_session),
      stopped_at = coalesce(towpath.runtime_time(changes, 'stopped_at'), x.stopped_at),
      exit_code = coalesce((changes ->> 'exit_code')::int, x.exit_code), exit_signal = coalesce(changes ->> 'exit_signal', x.exit_signal),
      metadata = case when changes ? 'metadata' then towpath.redact(changes -> 'metadata') else x.metadata end,
      version = x.version + 1, updated_at = towpath.now()
    where x.id = r.id;
  end if;
  return true;
exception when unique_violation then
  perform towpath.fail('TW409', 'another running runtime has this session or adapter_session', 'stop that one first');
end $$;
comment on function towpath.runtime_update(text, jsonb, bigint) is
'Changes what is given of a runtime record: pid (or null), status, session, adapter_session, stopped_at, exit_code, exit_signal, metadata; false when there is none. From running to any status; from unknown to running or exited; what has stopped or exited stays so.';

create or replace function towpath.runtime_stop(id text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with stopped as (
    update towpath.runtime_record r set status = 'stopped', pid = null, stopped_at = towpath.now(), version = r.version + 1, updated_at = towpath.now()
    where r.id = runtime_stop.id and r.status = 'running' returning 1)
  select exists (select 1 from stopped)
$$;
comment on function towpath.runtime_stop(text) is 'Notes that a running program was stopped; false, and nothing, for one that is not running, unknown or not there.';

create or replace function towpath.runtime_get(id text default null, session text default null, adapter_session text default null) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if num_nonnulls(id, session, adapter_session) <> 1 then
    perform towpath.fail('TW400', format('%s locators were given', num_nonnulls(id, session, adapter_session)), 'exactly one of id, session, adapter_session');
  end if;
  return (select towpath.runtime_json(r) from towpath.runtime_record r
          where case when runtime_get.id is not null then r.id = runtime_get.id
                     when runtime_get.session is not null then r.session = runtime_get.session
                     else r.adapter_session = runtime_get.adapter_session end
          order by r.status = 'running' desc, r.started_at desc, r.id limit 1);
end $$;
comment on function towpath.runtime_get(text, text, text) is
'A runtime record by exactly one of id, session and adapter_session, or null. Of several with one session: the running one, else the newest.';

create or replace function towpath.runtime_delete(id text) returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with gone as (delete from towpath.runtime_record r where r.id = runtime_delete.id returning 1) select exists (select 1 from gone)
$$;
comment on function towpath.runtime_delete(text) is 'Deletes a runtime record; false when there was none.';

create or replace function towpath.runtime_list(status text default null, after text default null, max integer default 100)
returns table (place text, runtime jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  part text[];
begin
  if status is not null and status not in ('running', 'stopped', 'exited', 'unknown') then
    perform towpath.fail('TW400', format('unknown status "%s"', left(status, 100)), 'running, stopped, exited or unknown');
  end if;
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000');
  end if;
  if after is not null then
    part := regexp_match(after, '^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (.+)$');
    if part is null then
      perform towpath.fail('TW400', 'after is not a place of this list', 'pass the place of the last row, or nothing');
    end if;
  end if;
  return query execute format(
    'select to_char(r.started_at at time zone ''UTC'', ''YYYY-MM-DD"T"HH24:MI:SS.US"Z" '') || r.id, towpath.runtime_json(r)
     from towpath.runtime_record r where true%s%s order by r.started_at, r.id limit %s',
    case when status is not null then format(' and r.status = %L', status) end,
    case when after is not null then format(' and (r.started_at, r.id) > (%L::timestamptz, %L)', part[1], part[2]) end, max);
end $$;
comment on function towpath.runtime_list(text, text, integer) is 'Whole runtime records, the oldest start first, optionally of one status. after: the place of the last row of the page before.';

create or replace function towpath.runtime_reconcile(host text, incarnation uuid, ttl interval default '30 seconds') returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  n integer;
begin
  if coalesce(host, '') = '' or incarnation is null or ttl is null or ttl < '1 second' then
    perform towpath.fail('TW400', 'host or incarnation is missing, or ttl under a second');
  end if;
  with lost as (
    select r.id from towpath.runtime_record r left join towpath.node o on o.id = r.host and o.incarnation = r.incarnation
    where r.status = 'running' and r.incarnation is distinct from runtime_reconcile.incarnation
      -- Its own of an earlier start, and those of hosts that are gone or silent.
      and (r.host = runtime_reconcile.host or r.host is not null and (o.id is null or o.stopped_at is not null or o.seen_at < towpath.now() - ttl))
    order by r.id for no key update of r skip locked
  ), marked as (
    update towpath.runtime_record r set status = 'unknown', pid = null, version = r.version + 1, updated_at = towpath.now()
    from lost where r.id = lost.id returning 1
  ) select count(*) into n from marked;
  return n;
end $$;
comment on function towpath.runtime_reconcile(text, uuid, interval) is
'A supervisor begins: what an earlier start of it ran, or a host that is no live node, is unknown from now and has no pid. Other live hosts'' records stay. Returns how many.';

create or replace function towpath.prune_runtimes(max integer, dry_run boolean) returns integer
language plpgsql volatile as $$
declare
  doomed text[] := array(
    select r.id from towpath.runtime_record r
    where r.status <> 'running' and r.updated_at < towpath.now() - towpath.keep('processes', '', '') order by r.updated_at, r.id limit max for update skip locked);
begin
  if not dry_run then
    delete from towpath.runtime_record r where r.id = any(doomed);
  end if;
  return cardinality(doomed);
end $$;
comment on function towpath.prune_runtimes(integer, boolean) is 'Removes one batch of runtime records that do not run and are past the retention of processes, and returns how many.';
