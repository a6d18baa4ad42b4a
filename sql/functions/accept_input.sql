create or replace function towpath.input_policy(topic text, lane text, busy boolean) returns jsonb
language sql immutable parallel safe as $$
  -- version counts the states of this table; an accepted input keeps the row that it was given.
  select jsonb_build_object('version', 1, 'consume', consume, 'coalesce', topic in ('progress', 'event'), 'apply',
    case when apply in ('ignore', 'wait') then apply
         when lane = 'steer' and busy then 'steer' when lane = 'queue' or not busy then 'turn' else apply end)
  from (values
    --  topic          idle      busy      consumed at
    ('prompt',       'turn',   'turn',   'finish'),
    ('message',      'turn',   'steer',  'finish'),
    ('request',      'turn',   'steer',  'finish'),
    ('response',     'turn',   'steer',  'finish'),
    ('step',         'turn',   'turn',   'finish'),
    ('progress',     'wait',   'wait',   'apply'),
    ('event',        'wait',   'wait',   'apply'),
    ('continuation', 'turn',   'ignore', 'finish'),
    ('operation',    'ignore', 'ignore', 'accept')) v(name, idle, busied, consume)
  cross join lateral (select case when busy then busied else idle end as apply) a
  where name = topic
$$;
comment on function towpath.input_policy(text, text, boolean) is
'What becomes of an input: a turn of its own, something said to the running turn (steer), kept for the next turn (wait), or nothing (ignore).';

create or replace function towpath.accept_input(
  session text, topic text, payload jsonb, idempotency_key text default null, options jsonb default '{}',
  out input_id text, out duplicate boolean, out phase text, out process_id text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t       timestamptz := towpath.now();
  s       towpath.session;
  i       towpath.input;
  o       towpath.input;
  wrong   text;
  origin  text := coalesce(options ->> 'source', 'operator');
  kept    text := coalesce(options ->> 'durability', 'durable');
  slot    bytea := towpath.digest('input:' || idempotency_key);
  request bytea;
  place   bytea;
  folds   boolean;
  rule    jsonb;
  whole   jsonb := payload;
  gone    text[] := '{}';
begin
  perform towpath.check_payload(payload, 'payload', idempotency_key);
  if topic is null or topic not in ('prompt', 'message', 'request', 'progress', 'response', 'step', 'event', 'continuation', 'operation') then
    perform towpath.fail('TW400', format('unknown topic "%s"', coalesce(topic, '')),
                         'topics are prompt, message, request, progress, response, step, event, continuation, operation');
  end if;
  wrong := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "source": {"enum": ["operator", "peer", "flow", "system", "external"]}, "durability": {"enum": ["durable", "ephemeral", "derived"]},
    "lane": {"enum": ["steer", "queue"]}, "scope": {"type": "string"}, "correlation_id": {"type": "string"}}}', 'options');
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'options are source, durability, lane, scope, correlation_id');
  end if;
  if options ->> 'scope' = '' or length(options ->> 'correlation_id') not between 1 and 200 then
    perform towpath.fail('TW400', 'scope is empty, or correlation_id is not 1 to 200 characters');
  end if;
  if kept = 'derived' and (origin in ('operator', 'peer', 'external') or topic in ('prompt', 'message', 'request', 'response', 'step')) then
    perform towpath.fail('TW403', format('a derived %s does not come from source %s', topic, origin),
                         'what the system can derive again comes from flow or system; send it as durable');
  end if;
  select * into s from towpath.session x where x.id = accept_input.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')), 'submit, create_run and session_put open sessions');
  end if;

  request := towpath.digest(jsonb_build_object('topic', topic, 'payload', payload, 'options', options));
  i := towpath.known_input(s.id, slot, request);
  if i.id is not null then
    duplicate := true; input_id := i.id; phase := i.phase;
    if i.finalized_at is null then
      select p.id into process_id from towpath.process p where p.no = i.process_no;
    end if;
    return;
  end if;

  perform towpath.check_open(s, 'input');
  duplicate := false;
  if options ? 'scope' then
    place := towpath.digest(jsonb_build_object('topic', topic, 'scope', options -> 'scope'));
    folds := (towpath.input_policy(topic, null, false) ->> 'coalesce')::boolean;
    if folds then
      whole := jsonb_build_object('items', jsonb_build_array(payload));
    end if;
    perform 1 from towpath.process p where p.no in (
      select x.process_no from towpath.input x where x.session_id = s.id and x.scope_digest = place and x.phase = 'queued') order by p.no for no key update;
    -- The older ones end here and now: a crash cannot bring them back.
    for o in select * from towpath.input x where x.session_id = s.id and x.scope_digest = place and x.phase = 'queued' order by x.seq desc loop
      if folds then
        continue when o.process_no is not null
                   or octet_length(towpath.content_of(o)::text) + octet_length(whole::text) > 1048576;
        whole := jsonb_build_object('items', (towpath.content_of(o) -> 'items') || (whole -> 'items'));
      elsif o.kind = 'turn' then
        continue when exists (select 1 from towpath.process p where p.no = o.process_no and p.first_started is not null);
      end if;
      update towpath.input x set phase = case when folds then 'coalesced' else 'superseded' end, reason = 'a newer input of its scope',
        updated_at = t, finalized_at = t where x.id = o.id;
      gone := gone || o.id;
      if o.kind = 'turn' then
        perform towpath.cancel(p.id, 'superseded by a newer input', '0') from towpath.process p where p.no = o.process_no;
      end if;
    end loop;
    select * into s from towpath.session x where x.id = s.id;
  end if;

  rule := towpath.input_policy(topic, options ->> 'lane', s.active_process is not null);
  if rule ->> 'apply' = 'turn' then
    select a.process_id into accept_input.process_id from towpath.accept_turn(s.profile, whole, s.id, null, '{}') a;
    select x.* into i from towpath.input x join towpath.process p on p.no = x.process_no
    where p.id = accept_input.process_id and x.kind = 'turn';
  else
    if rule ->> 'apply' = 'steer' then
      process_id := s.active_process;
    end if;
    update towpath.session x set next_input = x.next_input + 1, updated_at = t where x.id = s.id;
    insert into towpath.input (id, session_id, seq, process_no, kind, phase, payload, digest, created_at, updated_at)
    values (towpath.new_id('i'), s.id, s.next_input, (select p.no from towpath.process p where p.id = accept_input.process_id), 'steer', 'queued',
            whole, request, t, t)
    returning * into i;
  end if;
  update towpath.input x set digest = request, key_digest = slot, topic = accept_input.topic, source = origin, durability = kept,
    policy = rule, scope_digest = place, correlation_id = options ->> 'correlation_id', lane = case when x.kind = 'turn' then 'queue' else 'steer' end
  where x.id = i.id returning * into i;
  if rule ->> 'apply' = 'ignore' then
    update towpath.input x set phase = 'consumed', reason = 'ignored', finalized_at = t where x.id = i.id returning * into i;
  end if;
  update towpath.input x set outcome_ref = i.id where x.id = any(gone);
  input_id := i.id; phase := i.phase;
  if rule ->> 'apply' = 'steer' then
    perform towpath.wake('towpath_control', process_id);
  end if;
end $$;
comment on function towpath.accept_input(text, text, jsonb, text, jsonb) is
'Accepts an input for a session: when it returns the input is stored. topic: prompt, message, request, progress, response, step, event, continuation, operation; it decides, with the option lane, whether the input becomes a turn, is said to the running one, waits for the next, or is ignored. options: source (operator, peer, flow, system, external), durability (durable, ephemeral, derived), lane (steer, queue), scope (a newer input of the same topic and scope supersedes one that still waits; events and progress are folded together), correlation_id. The same key and request give the same input, with its process while that can still be awaited.';
