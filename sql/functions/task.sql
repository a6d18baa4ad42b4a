create or replace view towpath.task_heads as
  select t.id, t.tenant, t.project, t.queue, t.lane, t.title, t.priority, t.state, t.profile, t.refs, t.metadata, t.spec,
         t.attempts, a.id as attempt_id, a.detail as latest_attempt, t.session_path, t.cancel_reason, t.change_no,
         t.created_at, t.updated_at, t.finalized_at
  from towpath.task t left join towpath.task_attempt a on a.task_no = t.no and a.n = t.attempts;
comment on view towpath.task_heads is 'Tasks without what is to be done.';

create or replace view towpath.tasks as
  select h.*, t.payload from towpath.task_heads h join towpath.task t using (id);
comment on view towpath.tasks is 'Tasks.';

create or replace function towpath.task_create(queue text, payload jsonb, idempotency_key text default null, options jsonb default '{}',
                                               out task_id text, out duplicate boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t      timestamptz := towpath.now();
  o      jsonb := options;
  k      towpath.task;
  wanted text := coalesce(options ->> 'id', towpath.new_id('t'));
  slot   bytea := towpath.digest(idempotency_key);
  digest bytea;
begin
  perform towpath.check_payload(payload, 'payload', idempotency_key);
  perform towpath.check_task(queue, o);
  digest := towpath.digest(jsonb_build_object('queue', queue, 'payload', payload, 'options', o - 'id'));
  insert into towpath.task (id, tenant, project, queue, lane, title, priority, profile, payload, spec, refs, metadata, key_digest, request_digest,
                            created_at, updated_at)
  values (wanted, coalesce(o ->> 'tenant', 'default'), coalesce(o ->> 'project', 'default'), queue, coalesce(o ->> 'lane', 'default'),
          towpath.redact_text(o ->> 'title'), coalesce((o ->> 'priority')::int, 0), o ->> 'profile', payload, towpath.redact(coalesce(o -> 'spec', '{}')),
          towpath.redact(coalesce(o -> 'references', '[]')), towpath.redact(coalesce(o -> 'metadata', '{}')), slot, digest, t, t)
  on conflict do nothing returning * into k;
  duplicate := k.id is null;
  if duplicate then
    select * into k from towpath.task x
    where x.key_digest = slot and x.tenant = coalesce(o ->> 'tenant', 'default') and x.project = coalesce(o ->> 'project', 'default') or x.id = wanted
    order by x.key_digest is not distinct from slot desc limit 1;
    if k.request_digest is distinct from digest or k.key_digest is distinct from slot then
      perform towpath.fail('TW40I',
        case when slot is not null and k.key_digest is not distinct from slot then 'idempotency_key was used for another task'
             else format('task "%s" exists with another request', wanted) end,
        format('task "%s" has it; use a new one for a new task', k.id));
    end if;
  end if;
  task_id := k.id;
end $$;
comment on function towpath.task_create(text, jsonb, text, jsonb) is
'Puts a task into a queue. The same idempotency_key, which counts per tenant and project, and request give the same task, another request an error. options: id, tenant, project, lane, title, priority (the highest first, 0 by default), profile, references (an array), spec and metadata (objects).';

create or replace function towpath.check_task(queue text, options jsonb) returns void
language plpgsql immutable as $$
declare
  wrong text := towpath.misfit(options, '{"type": "object", "additionalProperties": false, "properties": {
    "id": {"type": "string"}, "tenant": {"type": "string"}, "project": {"type": "string"}, "lane": {"type": "string"}, "title": {"type": "string"},
    "priority": {"type": "integer"}, "profile": {"type": "string"}, "references": {"type": "array"}, "spec": {"type": "object"},
    "metadata": {"type": "object"}}}', 'options');
  k     text;
  v     text;
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'options are id, tenant, project, lane, title, priority, profile, references, spec, metadata');
  end if;
  if queue is null or queue !~ '^[A-Za-z0-9_.-]{1,100}$' or options ->> 'lane' !~ '^[A-Za-z0-9_.-]{1,100}$' then
    perform towpath.fail('TW400', 'queue or lane is not a name', '1 to 100 letters, digits, _ . -');
  end if;
  for k, v in select * from jsonb_each_text(options) e where e.key in ('id', 'tenant', 'project', 'profile') loop
    if v = '' or length(v) > 200 or v ~ '[#[:cntrl:]]' then
      perform towpath.fail('TW400', format('options.%s is not a name', k), 'a string of 1 to 200 characters without # and control characters');
    end if;
  end loop;
  if length(options ->> 'title') > 500 or (options ->> 'priority')::numeric not between -1000000 and 1000000 then
    perform towpath.fail('TW400', 'title is above 500 characters, or priority not from -1000000 to 1000000');
  end if;
  if octet_length((options - 'title')::text) > 262144 then
    perform towpath.fail('TW413', 'options are above 256 KiB', 'store large content elsewhere and pass a reference');
  end if;
end $$;
comment on function towpath.check_task(text, jsonb) is 'Refuses what no task can be.';

create or replace function towpath.task(id text) returns setof towpath.tasks
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select * from towpath.tasks t where t.id = task.id;
  if not found then
    perform towpath.fail('TW404', format('unknown task "%s"', coalesce(id, '')), 'towpath.task_list lists them');
  end if;
end $$;
comment on function towpath.task(text) is 'One task as a row of towpath.tasks, or an error when there is none.';

create or replace function towpath.locked_task(id text) returns towpath.task
language plpgsql as $$
declare
  k towpath.task;
begin
  select * into k from towpath.task x where x.id = locked_task.id for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown task "%s"', coalesce(id, '')), 'towpath.task_list lists them');
  end if;
  return k;
end $$;
comment on function towpath.locked_task(text) is 'Locks a task. Tasks come before sessions in the lock order.';

create or replace function towpath.task_attempt(id text, state text, attempt jsonb, session_path text default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  k    towpath.task;
  t    timestamptz := towpath.now();
  ends boolean := state in ('completed', 'failed', 'blocked', 'cancelled');
begin
  if state is null or state not in ('claimed', 'running', 'waiting', 'completed', 'failed', 'blocked', 'cancelled') then
    perform towpath.fail('TW400', format('unknown state "%s"', coalesce(left(state, 100), '')), 'claimed, running, waiting, completed, failed, blocked or cancelled');
  end if;
  perform towpath.check_payload(attempt, 'attempt', null);
  if jsonb_typeof(attempt -> 'id') is distinct from 'string' or length(attempt ->> 'id') not between 1 and 200 or length(session_path) > 1000 then
    perform towpath.fail('TW400', 'attempt.id is not 1 to 200 characters, or session_path above 1000', 'the id of a run, for example');
  end if;
  k := towpath.locked_task(id);
  if k.finalized_at is not null then
    perform towpath.fail('TW409', format('task "%s" is %s already', k.id, k.state), 'a task ends once');
  end if;
  update towpath.task_attempt a set state = task_attempt.state, detail = towpath.redact(attempt), updated_at = t
  where a.task_no = k.no and a.n = k.attempts and a.id = attempt ->> 'id';
  if not found then
    if exists (select 1 from towpath.task_attempt a where a.task_no = k.no and a.id = attempt ->> 'id') then
      perform towpath.fail('TW409', format('task "%s" has a newer attempt than "%s"', k.id, attempt ->> 'id'), 'only the newest one speaks for its task');
    end if;
    k.attempts := k.attempts + 1;
    insert into towpath.task_attempt (task_no, n, id, state, detail, created_at, updated_at)
    values (k.no, k.attempts, attempt ->> 'id', state, towpath.redact(attempt), t, t);
  end if;
  update towpath.task x set state = task_attempt.state, attempts = k.attempts, session_path = coalesce(task_attempt.session_path, x.session_path),
    updated_at = t, finalized_at = case when ends then t end,
    cancel_reason = case when task_attempt.state = 'cancelled' then coalesce(towpath.redact_text(attempt ->> 'reason'), 'attempt cancelled') end
  where x.no = k.no returning x.change_no into k.change_no;
  return k.change_no;
end $$;
comment on function towpath.task_attempt(text, text, jsonb, text) is
'Says how an attempt at a task stands, and with it the task. attempt: {"id", …}; another id is the next attempt, and an earlier one has no say any more. state: claimed, running, waiting, completed, failed, blocked, cancelled; the last four end it. Returns the task''s change number.';

create or replace function towpath.task_cancel(id text, reason text default 'cancel requested') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  k towpath.task;
  t timestamptz := towpath.now();
begin
  if coalesce(reason, '') = '' or octet_length(reason) > 1048576 then
    perform towpath.fail('TW400', 'reason is missing or above 1 MiB', 'say why; it is recorded');
  end if;
  k := towpath.locked_task(id);
  if k.finalized_at is null then
    perform towpath.cancel_run(r.id, reason) from towpath.task_attempt a join towpath.process r on r.id = a.id and r.class = 'run'
    where a.task_no = k.no and a.n = k.attempts;
    update towpath.task_attempt a set state = 'cancelled', updated_at = t where a.task_no = k.no and a.n = k.attempts;
    update towpath.task x set state = 'cancelled', cancel_reason = towpath.redact_text(reason), updated_at = t, finalized_at = t where x.no = k.no
    returning x.state into k.state;
  end if;
  return k.state;
end $$;
comment on function towpath.task_cancel(text, text) is 'Cancels a task, and the run that it became, and returns its state. One that has ended keeps its end, and its reason.';

create or replace function towpath.task_dispatch(id text, session text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  k   towpath.task := towpath.locked_task(id);
  run text;
begin
  if k.finalized_at is not null then
    perform towpath.fail('TW409', format('task "%s" is %s already', k.id, k.state), 'a task ends once');
  end if;
  if k.profile is null then
    perform towpath.fail('TW409', format('task "%s" names no profile', k.id), 'create it with options.profile');
  end if;
  select r.id into run from towpath.task_attempt a join towpath.process r on r.id = a.id and r.class = 'run' and r.finalized_at is null
  where a.task_no = k.no and a.n = k.attempts;
  if run is not null then
    return run;
  end if;
  run := towpath.create_run(k.profile, session, format('task:%s:%s', k.id, k.attempts + 1),
                            jsonb_build_object('tenant', k.tenant, 'project', k.project, 'metadata', jsonb_build_object('task', k.id)));
  perform towpath.create_command(run, 'turn', k.payload, 'task');
  perform towpath.task_attempt(k.id, 'running', jsonb_build_object('id', run), (select r.session_id from towpath.process r where r.id = run));
  return run;
end $$;
comment on function towpath.task_dispatch(text, text) is
'Makes a task a run with one turn, in a session or a new one, and returns the run''s id: the task''s next attempt. While that run lives, it is the answer.';

create or replace function towpath.task_refresh(id text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  k towpath.task := towpath.locked_task(id);
  r towpath.process;
  c towpath.commands;
begin
  select p.* into r from towpath.task_attempt a join towpath.process p on p.id = a.id and p.class = 'run' where a.task_no = k.no and a.n = k.attempts;
  if k.finalized_at is not null or r.no is null then
    return k.state;
  end if;
  r := towpath.locked_run(r.id);
  if r.finalized_at is null and r.cancel_requested_at is null
     and not exists (select 1 from towpath.commands x where x.run = r.id and x.finalized_at is null) then
    select * into c from towpath.commands x where x.run = r.id order by x.seq desc limit 1;
    if c.status = 'cancelled' then
      perform towpath.cancel_run(r.id, coalesce(c.reason, 'its turn was cancelled'));
    else
      perform towpath.finish_run(r.id, c.status, '{}', case c.status when 'failed' then coalesce(c.failure_kind, 'failed') end);
    end if;
    select * into r from towpath.process p where p.no = r.no;
  end if;
  if r.finalized_at is not null then
    perform towpath.task_attempt(k.id, case r.status when 'abandoned' then 'blocked' else r.status end,
      jsonb_strip_nulls(jsonb_build_object('id', r.id, 'status', r.status, 'kind', r.failure_kind, 'reason', r.cancel_reason)));
  end if;
  return (select x.state from towpath.task x where x.no = k.no);
end $$;
comment on function towpath.task_refresh(text) is
'Takes over into a task how its run has ended, and returns its state. A run whose only turn has ended is ended with it.';

create or replace function towpath.task_read(reader text, id text, change_no bigint default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  k   towpath.task;
  upto bigint;
  old bigint;
begin
  if coalesce(reader, '') = '' or length(reader) > 200 then
    perform towpath.fail('TW400', 'reader is not a name of 1 to 200 characters');
  end if;
  k := towpath.locked_task(id);
  upto := coalesce(change_no, k.change_no);
  if upto > k.change_no or upto < 0 then
    perform towpath.fail('TW400', format('task "%s" is at change %s, not at %s', k.id, k.change_no, upto));
  end if;
  select c.position into old from towpath.cursor c where c.reader = task_read.reader and c.stream = 'task:' || k.id;
  if upto < old then
    perform towpath.fail('TW409', format('reader "%s" has read task "%s" up to %s', reader, k.id, old), 'what has been read stays read');
  end if;
  insert into towpath.cursor as c (reader, stream, position, task_no, updated_at) values (reader, 'task:' || k.id, upto, k.no, towpath.now())
  on conflict on constraint cursor_pkey do update set position = excluded.position, task_no = excluded.task_no, updated_at = excluded.updated_at;
  return upto;
end $$;
comment on function towpath.task_read(text, text, bigint) is
'A reader has seen a task up to a change number, by default its newest, which is returned. It never moves back.';

create or replace function towpath.number_task() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if old.finalized_at is not null then
    perform towpath.fail('TW409', format('task "%s" is %s already', old.id, old.state), 'a task ends once');
  end if;
  new.change_no := nextval('towpath.task_change_seq');
  new.change_xid := pg_current_xact_id();
  return new;
end $$;
comment on function towpath.number_task() is 'Every change of a task gets a number above all that it had, and its place in the feed; none comes after its end.';

create or replace trigger towpath_change before update on towpath.task for each row
  -- A feed that begins anew moves the rest of the row nowhere.
  when (new.change_xid = old.change_xid) execute function towpath.number_task();
create or replace trigger towpath_fixed before update of id, tenant, project, queue, lane, priority, payload, key_digest, request_digest, created_at on towpath.task
  for each statement execute function towpath.refuse_change('what a task is does not change');

create or replace function towpath.count_tasks() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  slot smallint := pg_backend_pid() % 16;
begin
  case tg_op
  when 'INSERT' then
    insert into towpath.task_count as c
    select x.tenant, x.project, x.queue, x.lane, x.state, slot, count(*) from fresh x group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict on constraint task_count_pkey do update set n = c.n + excluded.n;
  when 'DELETE' then
    insert into towpath.task_count as c
    select x.tenant, x.project, x.queue, x.lane, x.state, slot, -count(*) from gone x group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict on constraint task_count_pkey do update set n = c.n + excluded.n;
  else
    insert into towpath.task_count as c
    select x.tenant, x.project, x.queue, x.lane, x.state, slot, sum(x.n) from (
      select f.tenant, f.project, f.queue, f.lane, f.state, 1 as n from fresh f
      union all select g.tenant, g.project, g.queue, g.lane, g.state, -1 from gone g) x
    group by 1, 2, 3, 4, 5 having sum(x.n) <> 0 order by 1, 2, 3, 4, 5
    on conflict on constraint task_count_pkey do update set n = c.n + excluded.n;
  end case;
  return null;
end $$;
comment on function towpath.count_tasks() is 'Keeps the counts of tasks, one row a statement and state.';

create or replace trigger towpath_count_new after insert on towpath.task referencing new table as fresh for each statement execute function towpath.count_tasks();
create or replace trigger towpath_count_change after update on towpath.task referencing new table as fresh old table as gone for each statement execute function towpath.count_tasks();
create or replace trigger towpath_count_gone after delete on towpath.task referencing old table as gone for each statement execute function towpath.count_tasks();

create or replace function towpath.prune_tasks(max integer, dry_run boolean) returns integer
language plpgsql volatile as $$
declare
  doomed bigint[] := array(
    select x.no from towpath.task x
    where x.finalized_at is not null and x.finalized_at < towpath.now() - towpath.keep('processes', x.tenant, coalesce(x.profile, ''))
    order by x.finalized_at, x.no limit max for update skip locked);
begin
  if not dry_run then
    delete from towpath.task x where x.no = any(doomed);
    delete from towpath.task_count c using (
      select l.tenant, l.project, l.queue, l.lane, l.state from (
        select * from towpath.task_count y where (y.tenant, y.project, y.queue, y.lane, y.state) in (
          select z.tenant, z.project, z.queue, z.lane, z.state from towpath.task_count z group by 1, 2, 3, 4, 5 having sum(z.n) = 0)
        order by y.tenant, y.project, y.queue, y.lane, y.state, y.slot for update) l
      group by 1, 2, 3, 4, 5 having sum(l.n) = 0) e
    where (c.tenant, c.project, c.queue, c.lane, c.state) = (e.tenant, e.project, e.queue, e.lane, e.state);
  end if;
  return cardinality(doomed);
end $$;
comment on function towpath.prune_tasks(integer, boolean) is 'Removes one batch of tasks that have ended and are past the retention of processes, and returns how many.';
