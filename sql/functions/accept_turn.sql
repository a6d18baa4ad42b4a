create or replace function towpath.check_options(options jsonb) returns void
language plpgsql stable as $$
declare
  k text;
  v jsonb;
  valid boolean;
begin
  if jsonb_typeof(options) is distinct from 'object' then
    perform towpath.fail('TW400', 'options is not an object', 'pass ''{}'' or leave it out');
  end if;
  for k, v in select * from jsonb_each(options) loop
    case
    when k in ('id', 'tenant', 'project') then
      -- A notification lists process ids with commas between them.
      if jsonb_typeof(v) <> 'string' or v #>> '{}' = '' or length(v #>> '{}') > 200 or v #>> '{}' ~ '[#[:cntrl:]]' or k = 'id' and v #>> '{}' ~ ',' then
        perform towpath.fail('TW400', format('options.%s is not a name', k), 'a string of 1 to 200 characters without # and control characters; an id without commas');
      end if;
    when k = 'priority' then
      if v not in ('1', '2', '3', '4') then
        perform towpath.fail('TW400', 'options.priority is not 1, 2, 3 or 4', '1 runs first; the default is 2');
      end if;
    when k = 'max_attempts' then
      if jsonb_typeof(v) <> 'number' or v::text !~ '^[0-9]{1,4}$' or v::text::int not between 1 and 1000 then
        perform towpath.fail('TW400', 'options.max_attempts is not a whole number from 1 to 1000');
      end if;
    when k = 'timeout_s' then
      if jsonb_typeof(v) <> 'number' or v::text::numeric not between 0.001 and 604800 then
        perform towpath.fail('TW400', 'options.timeout_s is not a number of seconds up to 604800 (a week)');
      end if;
    when k = 'scheduled_at' then
      begin
        valid := jsonb_typeof(v) = 'string' and v #>> '{}' ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$'
          and (v #>> '{}')::timestamptz is not null;
      exception when data_exception then
        valid := false;
      end;
      if not valid then
        perform towpath.fail('TW400', 'options.scheduled_at is not a timestamp with a zone', 'for example "2026-01-31T12:00:00Z"');
      end if;
    when k = 'late_steer' then
      if v not in ('"next"', '"reject"') then
        perform towpath.fail('TW400', 'options.late_steer is not "next" or "reject"');
      end if;
    when k = 'fallback' then
      if jsonb_typeof(v) <> 'string' or v #>> '{}' = '' then
        perform towpath.fail('TW400', 'options.fallback is not the name of a profile');
      end if;
    when k = 'traceparent' then
      if not towpath.is_traceparent(v) then
        perform towpath.fail('TW400', 'options.traceparent is not one of W3C Trace Context',
                             'for example "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"');
      end if;
    else
      perform towpath.fail('TW400', format('unknown option "%s"', k),
                           'options are id, tenant, project, priority, max_attempts, timeout_s, scheduled_at, late_steer, fallback, traceparent');
    end case;
  end loop;
end $$;
comment on function towpath.check_options(jsonb) is 'Refuses an option that submit does not have, or a value out of its range.';

create or replace function towpath.is_traceparent(value jsonb) returns boolean
language sql immutable parallel safe as $$
  select coalesce(jsonb_typeof(value) = 'string' and value #>> '{}' ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$', false);
$$;
comment on function towpath.is_traceparent(jsonb) is 'Whether a value is a traceparent of W3C Trace Context, version 00.';

create or replace function towpath.accept_turn(
  p_profile text, p_input jsonb, p_session text, p_key text, p_options jsonb, p_job bigint default null,
  p_parent text default null,
  out process_id text, out duplicate boolean)
language plpgsql as $$
declare
  t        timestamptz := towpath.now();
  attempts integer; -- that its profile gives it
  s        towpath.session;
  p        towpath.process;
  digest   bytea;
  key      bytea;
  opened   boolean := false;
  heads    boolean; -- its session, so that it has a job
  job      bigint;
  due      timestamptz;
  input_id text := towpath.new_id('i');
begin
  -- What is usual is decided here: each function, and each statement, is much to read for a database that has rested.
  if p_options is distinct from '{}' then
    perform towpath.check_options(p_options);
  end if;
  if coalesce(p_profile, '') = '' then
    perform towpath.fail('TW400', 'profile is missing', 'name a backend, for example deepseek; towpath.profiles lists them');
  end if;
  if p_input is null or jsonb_typeof(p_input) <> 'object' then
    perform towpath.fail('TW400', case when p_input is null then 'input is missing' else 'input is not a JSON object' end,
                         'for example {"text": "hello"}');
  end if;
  if octet_length(p_input::text) > 1048576 then
    perform towpath.fail('TW413', format('input has %s bytes, the limit is 1048576', octet_length(p_input::text)),
                         'store large content elsewhere and pass a reference');
  end if;
  if p_key is not null and (p_key = '' or octet_length(p_key) > 1048576) then
    perform towpath.fail('TW400', 'idempotency_key is empty or above 1 MiB');
  end if;
  due := (p_options ->> 'scheduled_at')::timestamptz;
  key := case when p_key is not null then towpath.digest(p_key) end;
  digest := towpath.digest(jsonb_build_object(
    'profile', p_profile, 'input', p_input, 'session', p_session, 'options', p_options - '{id,traceparent}'::text[]));
  process_id := coalesce(p_options ->> 'id', towpath.new_id('p'));

  if p_session is null then
    opened := true;
    p_session := towpath.new_id('s');
    -- Written once, as this turn leaves it.
    insert into towpath.session (id, tenant, project, profile, next_turn, next_input, active_process, created_at, updated_at)
    values (p_session, coalesce(p_options ->> 'tenant', 'default'), coalesce(p_options ->> 'project', 'default'), p_profile, 2, 2, process_id, t, t)
    returning id, tenant, project into s.id, s.tenant, s.project;
    s.next_turn := 1; s.next_input := 1;
  else
    s := towpath.enter_session(p_session, p_profile, p_options ->> 'tenant', p_options ->> 'project');
  end if;
  heads := s.active_process is null;
  job := case when not heads then null when p_job is null or due > t then nextval(':river.river_job_id_seq') else p_job end;

  attempts := (select f.max_attempts from towpath.profile f where f.name = p_profile and f.enabled);
  -- One statement: each costs more by itself than what it does here.
  with accepted as (
    insert into towpath.process (id, class, disposition, tenant, project, profile, session_id, turn_no, parent_id, spec, request_digest,
                                 key_digest, priority, max_attempts, last_seq, generation, river_job_id, created_at, updated_at)
    values (process_id, 'turn', 'rerunnable', s.tenant, s.project, p_profile, s.id, s.next_turn, p_parent,
            p_options - '{id,tenant,project,priority,max_attempts}'::text[], digest, key,
            coalesce((p_options ->> 'priority')::smallint, 2), coalesce((p_options ->> 'max_attempts')::int, attempts, 1),
            1, heads::int, job, t, t)
    on conflict do nothing
    returning *
  ), addressed as (
    insert into towpath.input (id, session_id, seq, process_no, kind, phase, payload, digest, created_at, updated_at)
    select input_id, s.id, s.next_input, a.no, 'turn', 'queued', p_input, a.request_digest, t, t from accepted a
  ), noted as (
    insert into towpath.event (process_no, seq, type, data, at)
    select a.no, 1, 'process.queued', jsonb_build_object('profile', p_profile, 'session', s.id, 'input', input_id), t from accepted a
  )
  select a.* into p from accepted a;

  if p.id is null then
    if opened then
      delete from towpath.session where id = s.id;
    end if;
    duplicate := true;
    select * into p from towpath.process x
    where x.tenant = s.tenant and x.project = s.project and x.key_digest = key or x.id = accept_turn.process_id
    order by x.key_digest is not distinct from key desc limit 1;
    if not found then -- pruned since
      perform towpath.check_fresh(process_id, s.tenant, s.project, key);
    end if;
    if p.request_digest is distinct from digest or p.key_digest is distinct from key then
      perform towpath.fail('TW40I',
        case when p.key_digest is not distinct from key and key is not null then 'idempotency_key was used for another request'
             else format('process "%s" exists with another request', process_id) end,
        format('process "%s" has it; use a new key for a new request', p.id));
    end if;
    process_id := p.id;
    return;
  end if;

  duplicate := false;
  -- Only now, since a request that was accepted once is answered whatever has become of its session and profile.
  if key is not null or p_options ? 'id' then
    perform towpath.check_fresh(process_id, s.tenant, s.project, key);
  end if;
  if attempts is null then
    perform towpath.check_profile(p_profile);
  end if;
  if p_parent is not null then
    perform towpath.check_run(r) from towpath.process r where r.id = p_parent;
  end if;
  if not opened then
    perform towpath.check_open(s, 'turn');
    update towpath.session set next_turn = s.next_turn + 1, next_input = s.next_input + 1, updated_at = t,
      active_process = coalesce(s.active_process, p.id)
    where id = s.id;
  end if;
  if heads and job is distinct from p_job then
    perform towpath.put_job(p, due);
  end if;
end $$;
comment on function towpath.accept_turn(text, jsonb, text, text, jsonb, bigint, text) is
'The one way in for a turn: process, input, first event and River job, or the process that the key already has. p_job is a River row that becomes the turn''s own.';

create or replace function towpath.accept_args(args jsonb, subject text, job_id bigint default null) returns text
language plpgsql as $$
declare
  k       text;
  v       jsonb;
  key     text := args ->> 'idempotency_key';
  options jsonb := coalesce(nullif(args -> 'options', 'null'), '{}');
  trace   jsonb;
begin
  if jsonb_typeof(args) <> 'object' then
    perform towpath.fail('TW400', format('%s is not an object', subject));
  end if;
  for k, v in select * from jsonb_each(args) loop
    if k not in ('profile', 'input', 'session', 'idempotency_key', 'options') then
      perform towpath.fail('TW400', format('%s: unknown key "%s"', subject, k),
                           'keys are profile, input, session, idempotency_key, options');
    end if;
    if k in ('profile', 'session', 'idempotency_key') and jsonb_typeof(v) not in ('string', 'null') then
      perform towpath.fail('TW400', format('%s: %s is not a string', subject, k));
    end if;
  end loop;
  if key is null and job_id is not null then
    -- The row may be delivered again. Its id alone may come again too, after a restore.
    key := (select format('river:%s:%s', j.id, extract(epoch from j.created_at)) from :river.river_job j where j.id = job_id);
  end if;
  if job_id is not null and jsonb_typeof(options) = 'object' and not options ? 'traceparent' then
    trace := (select j.metadata -> 'traceparent' from :river.river_job j where j.id = job_id);
    -- Whoever wrote something else there has no trace, and a turn all the same.
    if towpath.is_traceparent(trace) then
      options := options || jsonb_build_object('traceparent', trace);
    end if;
  end if;
  return (select a.process_id from towpath.accept_turn(args ->> 'profile', args -> 'input', args ->> 'session', key, options, job_id) a);
end $$;
comment on function towpath.accept_args(jsonb, text, bigint) is 'Submits a turn that is described by an object: an item of submit_many, or the args of a client''s River job.';
