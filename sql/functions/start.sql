create or replace function towpath.start(class text, disposition text, spec jsonb default '{}', options jsonb default '{}') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  if class is null or class not in ('operation', 'external') then
    perform towpath.fail('TW400', format('class "%s" is not operation or external', coalesce(class, '')),
                         'turns are submitted, and daemons and runs have functions of their own');
  end if;
  return towpath.begin_process(class, disposition, spec, options);
end $$;
comment on function towpath.start(text, text, jsonb, jsonb) is
'Starts a process and returns its id; it is stored before anybody executes it. class: operation (executed by whoever claims it) or external (somebody else runs it and reports its end). disposition: rerunnable, owner_bound or externally_owned. The same id or idempotency_key and request give the same process, another request an error. options: id, idempotency_key, tenant, project, session, parent, priority 1-4, max_attempts, env (an object) or env_id, event_types (name: JSON schema), share (scopes), wake (the session that is told of its end), limit (how many live processes may wake that session), originator, caused_by, kind, label, definition, external_ref.';

create or replace function towpath.begin_process(p_class text, p_disposition text, p_spec jsonb, p_options jsonb) returns text
language plpgsql as $$
declare
  t      timestamptz := towpath.now();
  o      jsonb := p_options;
  s      towpath.session;
  parent towpath.process;
  p      towpath.process;
  digest bytea;
  key    bytea;
  env    text;
  wanted text;
begin
  perform towpath.check_start(p_class, p_disposition, p_spec, o);
  env := coalesce(o ->> 'env_id', towpath.env_put(o -> 'env'));
  if env is not null and not exists (select 1 from towpath.env e where e.id = env) then
    perform towpath.fail('TW404', format('unknown env "%s"', env), 'pass its content as env once');
  end if;
  key := towpath.digest(o ->> 'idempotency_key');
  wanted := coalesce(o ->> 'id', towpath.new_id('p'));
  digest := towpath.digest(jsonb_build_object('class', p_class, 'disposition', p_disposition, 'spec', p_spec,
                                              'options', o - '{id,env,env_id}'::text[], 'env', env));
  if o ? 'limit' then
    perform 1 from towpath.session x where x.id = o ->> 'wake' for no key update;
  end if;
  -- What it names stays: a prune or a deletion that has begun is waited for, one that comes passes by.
  select * into s from towpath.session x where x.id = o ->> 'session' for key share;
  select * into parent from towpath.process x where x.id = o ->> 'parent' for key share;

  insert into towpath.process (id, class, disposition, desired_state, tenant, project, profile, session_id, parent_id, spec, request_digest, key_digest,
                               status, priority, max_attempts, env_id, originator, originator_session, originator_frame, caused_by,
                               kind, label, definition, external_ref, last_seq, created_at, updated_at)
  values (wanted, p_class, p_disposition, case when p_class = 'daemon' then 'up' else 'once' end,
          coalesce(o ->> 'tenant', s.tenant, parent.tenant, 'default'), coalesce(o ->> 'project', s.project, parent.project, 'default'),
          case when p_class = 'run' then s.profile end, s.id, parent.id, p_spec, digest, key,
          case when p_class = 'external' then 'running' else 'queued' end,
          coalesce((o ->> 'priority')::smallint, 2),
          coalesce((o ->> 'max_attempts')::int, case p_class when 'daemon' then 6 when 'operation' then 3 else 1 end),
          env, towpath.scope(o -> 'originator'), o #>> '{originator,session}', o #>> '{originator,frame}', o -> 'caused_by',
          o ->> 'kind', o ->> 'label', o ->> 'definition', o ->> 'external_ref', 1, t, t)
  on conflict do nothing
  returning * into p;

  if p.id is null then
    select * into p from towpath.process x
    where x.key_digest = key and x.tenant = coalesce(o ->> 'tenant', s.tenant, parent.tenant, 'default')
          and x.project = coalesce(o ->> 'project', s.project, parent.project, 'default') or x.id = wanted
    order by x.key_digest is not distinct from key desc limit 1;
    if not found then -- pruned since
      perform towpath.check_fresh(wanted, coalesce(o ->> 'tenant', s.tenant, parent.tenant, 'default'), coalesce(o ->> 'project', s.project, parent.project, 'default'), key);
    end if;
    if p.request_digest is distinct from digest or p.key_digest is distinct from key then
      perform towpath.fail('TW40I',
        case when key is not null and p.key_digest is not distinct from key then 'idempotency_key was used for another request'
             else format('process "%s" exists with another request', wanted) end,
        format('process "%s" has it; use a new one for a new request', p.id));
    end if;
    return p.id;
  end if;

  -- Only now, since a request that was accepted once is answered whatever has become of what it names.
  if o ? 'id' or key is not null then
    perform towpath.check_fresh(p.id, p.tenant, p.project, key);
  end if;
  if o ? 'session' and s.id is null then
    perform towpath.fail('TW404', format('unknown session "%s"', o ->> 'session'));
  end if;
  if o ? 'parent' and parent.id is null then
    perform towpath.unknown(o ->> 'parent');
  end if;
  if s.tenant <> p.tenant or s.project <> p.project then
    perform towpath.fail('TW409', format('session "%s" belongs to tenant "%s", project "%s"', s.id, s.tenant, s.project));
  end if;
  insert into towpath.event_type (process_no, name, schema)
  select p.no, e.key, e.value from jsonb_each(coalesce(o -> 'event_types', '{}')) e;
  perform towpath.put_share(coalesce(e ->> 'scope', e #>> '{}'), p.no, coalesce(e -> 'descriptor', '{}')) from jsonb_array_elements(o -> 'share') e;
  if o ? 'wake' then
    insert into towpath.wake_target (process_no, session_id, at)
    select p.no, x.id, t from towpath.session x where x.id = o ->> 'wake' for key share;
    if not found then
      perform towpath.fail('TW404', format('unknown session "%s"', o ->> 'wake'), 'who is to be woken must exist');
    end if;
    if o ? 'limit' and (o ->> 'limit')::int < (select count(*) from towpath.wake_target w join towpath.process x on x.no = w.process_no
                                               where w.session_id = o ->> 'wake' and x.finalized_at is null) then
      perform towpath.fail('TW429', format('session "%s" has %s processes already', o ->> 'wake', o ->> 'limit'), 'wait for one of them to end');
    end if;
  end if;
  insert into towpath.event (process_no, seq, type, data, at)
  values (p.no, 1, case when p_class = 'external' then 'process.started' else 'process.queued' end,
          jsonb_build_object('class', p.class, 'originator', p.originator), t);
  if p_class <> 'external' then
    perform towpath.enqueue(p.id);
  end if;
  perform towpath.wake('towpath_events', p.id);
  return p.id;
end $$;
comment on function towpath.begin_process(text, text, jsonb, jsonb) is
'The one way in for a process that is no turn: row, declared events, shares, first event and, where its class has one, River job; or the process that the id or key already has.';

create or replace function towpath.check_start(class text, disposition text, spec jsonb, options jsonb) returns void
language plpgsql stable as $$
declare
  wrong text;
  k     text;
  v     jsonb;
begin
  if disposition is null or disposition not in ('rerunnable', 'owner_bound', 'externally_owned') then
    perform towpath.fail('TW400', format('disposition "%s" is not rerunnable, owner_bound or externally_owned', coalesce(disposition, '')),
                         'say who may execute it again; there is no default');
  end if;
  if (class = 'external') <> (disposition = 'externally_owned') then
    perform towpath.fail('TW400', format('class %s does not go with disposition %s', class, disposition), 'external processes are externally_owned, and only they');
  end if;
  if spec is null or jsonb_typeof(spec) <> 'object' then
    perform towpath.fail('TW400', 'spec is not a JSON object', 'pass ''{}'' or leave it out');
  end if;
  wrong := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "id": {"type": "string"}, "idempotency_key": {"type": "string"}, "tenant": {"type": "string"}, "project": {"type": "string"},
    "session": {"type": "string"}, "parent": {"type": "string"}, "wake": {"type": "string"}, "limit": {"type": "integer"}, "priority": {"enum": [1, 2, 3, 4]}, "max_attempts": {"type": "integer"},
    "env": {"type": "object"}, "env_id": {"type": "string"}, "event_types": {"type": "object", "additionalProperties": {"type": "object"}},
    "share": {"type": "array", "items": {"type": ["string", "object"], "required": ["scope"], "additionalProperties": false,
                                         "properties": {"scope": {"type": "string"}, "descriptor": {"type": "object"}}}},
    "originator": {"type": "object", "additionalProperties": false,
                   "properties": {"host": {"type": "string"}, "session": {"type": "string"}, "frame": {"type": "string"}}},
    "caused_by": {"type": "object", "additionalProperties": false,
                  "properties": {"occurrence": {"type": "string"}, "subscription": {"type": "string"}}},
    "kind": {"type": "string"}, "label": {"type": "string"}, "definition": {"type": "string"}, "external_ref": {"type": "string"}}}', 'options');
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'see the comment of towpath.start');
  end if;
  for k, v in select * from jsonb_each(options) e
              where e.key in ('id', 'tenant', 'project', 'session', 'parent', 'kind', 'label', 'definition', 'external_ref')
              union all select 'originator.' || e.key, e.value from jsonb_each(options -> 'originator') e loop
    if v #>> '{}' = '' or length(v #>> '{}') > 200 or v #>> '{}' ~ '[#[:cntrl:]]' or k = 'id' and v #>> '{}' ~ ',' then
      perform towpath.fail('TW400', format('options.%s is not a name', k), 'a string of 1 to 200 characters without # and control characters; an id without commas');
    end if;
  end loop;
  if (options ->> 'max_attempts')::numeric not between 1 and 1000 then
    perform towpath.fail('TW400', 'options.max_attempts is not from 1 to 1000');
  end if;
  if options ? 'limit' and (not options ? 'wake' or (options ->> 'limit')::numeric not between 1 and 100000) then
    perform towpath.fail('TW400', 'options.limit is not from 1 to 100000, or there is no options.wake');
  end if;
  if options ->> 'idempotency_key' = '' or octet_length(options ->> 'idempotency_key') > 1048576 then
    perform towpath.fail('TW400', 'idempotency_key is empty or above 1 MiB');
  end if;
  if octet_length(spec::text) > 1048576 or octet_length(options::text) > 2097152 then
    perform towpath.fail('TW413', 'spec is above 1 MiB or options above 2 MiB', 'store large content elsewhere and pass a reference');
  end if;
  if options ? 'env' and options ? 'env_id' or class = 'operation' and not options ?| '{env,env_id}' then
    perform towpath.fail('TW400', 'an operation is executed in an env', 'give one: its content as env, or its id as env_id');
  end if;
  if class = 'external' and options ?| '{env,env_id}' then
    perform towpath.fail('TW400', 'an external process has no env', 'whoever runs it knows its own');
  end if;
  if options #> '{originator,frame}' is not null and options #> '{originator,session}' is null
     or options #> '{originator,host}' is not null and options #> '{originator,session}' is not null then
    perform towpath.fail('TW400', 'originator is a host, or a session with or without a frame', 'for example {"session": "s"}');
  end if;
  for k, v in select * from jsonb_each(options -> 'event_types') loop
    if k !~ '^[A-Za-z0-9_.-]{1,100}$' or starts_with(k, 'process.') then
      perform towpath.fail('TW400', format('event type "%s" cannot be declared', left(k, 100)),
                           '1 to 100 letters, digits, _ . - and not beginning with "process."');
    end if;
    perform towpath.check_schema(v, k);
  end loop;
  for v in select * from jsonb_array_elements(options -> 'share') loop
    perform towpath.check_scope(coalesce(v ->> 'scope', v #>> '{}'));
  end loop;
  if (select count(*) > count(distinct coalesce(e ->> 'scope', e #>> '{}')) from jsonb_array_elements(options -> 'share') e) then
    perform towpath.fail('TW400', 'options.share names a scope twice');
  end if;
end $$;
comment on function towpath.check_start(text, text, jsonb, jsonb) is 'Refuses what a start cannot be.';

create or replace function towpath.env_put(body jsonb) returns text
language plpgsql volatile as $$
declare
  name text := 'env:sha256:' || encode(sha256(convert_to(towpath.canonical(body), 'UTF8')), 'hex');
begin
  if name is not null then
    loop
      insert into towpath.env as e (id, body, created_at) values (name, env_put.body, towpath.now()) on conflict do nothing;
      -- A prune may just be taking one that nobody used.
      perform 1 from towpath.env e where e.id = name for key share;
      exit when found;
    end loop;
  end if;
  return name;
exception when statement_too_complex then
  perform towpath.fail('TW413', 'env is nested too deeply');
end $$;
comment on function towpath.env_put(jsonb) is 'Stores an env under its content''s name, once, and returns that; null for none.';

create or replace view towpath.env_use as
  select e.id, p.definition, count(p.no) as live
  from towpath.env e left join towpath.process p on p.env_id = e.id and p.finalized_at is null
  group by e.id, p.definition;
comment on view towpath.env_use is 'How many live processes are executed in an env, by definition; 0 where nobody is.';
