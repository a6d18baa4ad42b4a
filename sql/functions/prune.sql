create or replace function towpath.ripe(p towpath.process, cutoff timestamptz, filter jsonb, at_xid xid8, at_no bigint) returns boolean
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
  return p.finalized_at is not null
    and p.finalized_at < coalesce(cutoff, towpath.now() - towpath.keep('processes', p.tenant, p.profile))
    and (at_xid is null or (p.change_xid, p.no) <= (at_xid, at_no))
    and (filter = '{}' or filter <@ jsonb_build_object('tenant', p.tenant, 'project', p.project, 'profile', p.profile, 'session', p.session_id,
                                                       'class', p.class, 'status', p.status, 'kind', p.kind, 'label', p.label));
end $$;
comment on function towpath.ripe(towpath.process, timestamptz, jsonb, xid8, bigint) is
'Whether a process by itself may be pruned: ended before the cutoff (without one, by its retention), fits the filter, and is not after a place of the feed.';

create or replace function towpath.trees(roots bigint[], cutoff timestamptz, filter jsonb, at_xid xid8, at_no bigint)
returns table (root bigint, no bigint, id text, own boolean)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
begin
  return query
  with recursive tree as (
    select p.no as root, p.no, p.id, p.class, true as own, true as ripe from towpath.process p where p.no = any(roots)
    union
    select t.root, c.no, c.id, c.class, t.own and t.class = 'run' and c.class = 'turn', towpath.ripe(c, cutoff, filter, at_xid, at_no)
    from tree t join towpath.process c on c.parent_id = t.id
  ), whole as (select t.root from tree t group by t.root having bool_and(t.ripe))
  select t.root, t.no, t.id, t.own from tree t join whole using (root);
end $$;
comment on function towpath.trees(bigint[], timestamptz, jsonb, xid8, bigint) is
'Of roots that are ripe those whose descendants all are, and these. own: the root, and of a run its turns, which have no life of their own.';

create or replace function towpath.prunable(p towpath.process, cutoff timestamptz, filter jsonb, at_xid xid8, at_no bigint) returns boolean
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
  r towpath.process := p;
begin
  if p.class = 'turn' and p.parent_id is not null then
    select * into r from towpath.process x where x.id = p.parent_id;
  end if;
  return towpath.ripe(r, cutoff, filter, at_xid, at_no)
    and exists (select 1 from towpath.trees(array[r.no], cutoff, filter, at_xid, at_no) x where x.no = p.no);
end $$;
comment on function towpath.prunable(towpath.process, timestamptz, jsonb, xid8, bigint) is 'Whether a process would go.';

create or replace function towpath.prune(cutoff timestamptz default null, filter jsonb default '{}', watermark text default null,
                                         after text default null, max integer default 1000, dry_run boolean default false) returns jsonb
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  t     timestamptz := towpath.now();
  wrong text := towpath.misfit(filter, '{"type": "object", "additionalProperties": false, "properties": {
    "tenant": {"type": "string"}, "project": {"type": "string"}, "profile": {"type": "string"}, "session": {"type": "string"},
    "class": {"enum": ["turn", "daemon", "external", "run", "operation"]}, "status": {"enum": ["completed", "failed", "cancelled", "abandoned"]},
    "kind": {"type": "string"}, "label": {"type": "string"}}}', 'filter');
  mark  text[] := regexp_match(watermark, '^(\d{1,18}):(\d{1,19}):(\d{1,18}):(.*)$');
  place text[] := regexp_match(coalesce(nullif(after, ''), 'process -infinity 0'), '^(process|session|rest) (\S+) (.*)$');
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'filters are tenant, project, profile, session, class, status (completed, failed, cancelled, abandoned), kind, label');
  end if;
  if cutoff > t then
    perform towpath.fail('TW400', format('cutoff %s is in the future', cutoff), format('the database''s clock says %s', t));
  end if;
  if max is null or max not between 1 and 10000 then
    perform towpath.fail('TW400', 'max is not from 1 to 10000');
  end if;
  if watermark is not null and mark is null then
    perform towpath.fail('TW400', 'watermark is not a place of the change feed', 'pass the place of the last row that was taken from towpath.changes');
  end if;
  if mark[1]::bigint <> (select s.feed_epoch from towpath.store s) then
    perform towpath.fail('TW40R', 'the feed has begun anew since this watermark', 'read everything once more, from a cursor of towpath.changes_now()');
  end if;
  if place is null then
    perform towpath.fail('TW400', 'after is not a place of a prune', 'pass next of the answer before, or nothing');
  end if;
  return case place[1]
    when 'process' then towpath.prune_processes(cutoff, filter, mark, place[2]::timestamptz, place[3]::bigint, max, dry_run)
    when 'session' then towpath.prune_sessions(cutoff, filter, mark, place[2]::timestamptz, place[3], max, dry_run)
    else towpath.prune_rest(max, dry_run) end;
end $$;
comment on function towpath.prune(timestamptz, jsonb, text, text, integer, boolean) is
'Removes one batch of what has ended and is past retention, with all that depends on it, and leaves tombstones. cutoff: what ended before it, whatever the retention says; without one, by retention. filter: tenant, project, profile, session, class, status, kind, label. watermark: a place of towpath.changes; what the feed has told after it stays. A process stays as long as one that it started stays, and a run goes with its turns. Returns what went, by table; call it again with after = next until that is null. dry_run: nothing goes, the answer says what would. Without cutoff, filter and watermark it also takes what hangs on nothing: environments, modules, old usage (summed by day first), old tombstones.';

create or replace function towpath.prune_processes(cutoff timestamptz, filter jsonb, mark text[], after_at timestamptz, after_no bigint,
                                                   max integer, dry_run boolean) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t      timestamptz := towpath.now();
  upto   timestamptz;
  picked bigint[];
  weight bigint := 0;
  roots  bigint[];
  nos    bigint[];
  ids    text[];
  doomed bigint[];
  jobs   bigint[];
  report jsonb;
  c      record;
  n      bigint;
begin
  upto := coalesce(cutoff, t - (select min(r.processes) from towpath.retention r));
  -- The weight of a batch is bounded too, since a process may have any number of events: it is a few milliseconds of work, so that who submits beside it
  -- meets its rests as well. A loop, so that nobody is judged who finds no room.
  for c in
    select p.no, p.finalized_at, p.last_seq from towpath.process p
    where p.finalized_at is not null and p.finalized_at < upto and (p.finalized_at, p.no) > (after_at, after_no)
      and not (p.class = 'turn' and p.parent_id is not null)
      and towpath.ripe(p, cutoff, filter, mark[2]::xid8, mark[3]::bigint)
    order by p.finalized_at, p.no limit max
  loop
    picked := picked || c.no;
    after_at := c.finalized_at; after_no := c.no;
    weight := weight + c.last_seq + 10;
    exit when weight > 6000;
  end loop;
  if picked is null then
    return jsonb_build_object('next', 'session -infinity ');
  end if;
  report := jsonb_build_object('next', format('process %s %s', to_char(after_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), after_no));
  select array_agg(x.root), array_agg(x.no), array_agg(x.id), array_agg(distinct x.no) filter (where x.own or not dry_run)
  into roots, nos, ids, doomed
  from towpath.trees(picked, cutoff, filter, mark[2]::xid8, mark[3]::bigint) x;
  if not dry_run and doomed is not null then
    -- Whoever holds a lock is at work on it: the next run sees the result.
    select array_agg(x.no) into doomed
    from (select p.no from towpath.process p where p.no = any(doomed) order by p.no for update skip locked) x;
    -- Read after the lock, since children may have been born before it.
    select array_agg(distinct m.no) into doomed from unnest(roots, nos) m(root, no)
    where m.root not in (
      select x.root from unnest(roots, nos, ids) x(root, no, id)
      where x.no not in (select unnest(doomed))
         or exists (select 1 from towpath.process k where k.parent_id = x.id and k.no not in (select unnest(doomed))));
  end if;
  if doomed is null then
    return report;
  end if;
  select array_agg(p.id) into ids from towpath.process p where p.no = any(doomed);
  select array_agg(x.job) into jobs from (
    select p.river_job_id as job from towpath.process p where p.no = any(doomed)
    union select a.river_job_id from towpath.attempt a where a.process_no = any(doomed)) x where x.job is not null;
  if not dry_run then
    -- A place of the feed is the transaction and the number: both are the tombstone's.
    insert into towpath.tombstone as g (kind, id, no, status, tenant, project, profile, session_id, key_digest, last_seq, finalized_at, pruned_at)
    select 'process', p.id, p.no, p.status, p.tenant, p.project, p.profile, p.session_id, p.key_digest, p.last_seq, p.finalized_at, t
    from towpath.process p where p.no = any(doomed)
    on conflict on constraint tombstone_pkey do update set no = excluded.no, status = excluded.status, tenant = excluded.tenant, project = excluded.project,
      profile = excluded.profile, session_id = excluded.session_id, key_digest = excluded.key_digest, last_seq = excluded.last_seq,
      finalized_at = excluded.finalized_at, pruned_at = excluded.pruned_at, change_xid = excluded.change_xid;
  end if;
  if dry_run then
    for c in select * from (values ('events', 'event', 'process_no'), ('journal_rows', 'journal', 'process_no'), ('receipts', 'receipt', 'process_no'),
      ('attempts', 'attempt', 'process_no'), ('inputs', 'input', 'process_no'), ('shares', 'share', 'process_no'), ('event_types', 'event_type', 'process_no'),
      ('runner_jobs', 'runner_job', 'run_no'), ('processes', 'process', 'no')) v(name, source, number) loop
      execute format('select count(*) from towpath.%I x where x.%I = any($1)', c.source, c.number) into n using doomed;
      report := report || jsonb_build_object(c.name, n);
    end loop;
    select count(*) into n from :river.river_job x where x.id = any(jobs) and x.finalized_at is not null
      and coalesce(x.args ->> 'process_id', x.metadata ->> 'process_id') = any(ids);
    report := report || jsonb_build_object('river_jobs', n);
  else
    delete from towpath.event x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('events', n);
    delete from towpath.journal x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('journal_rows', n);
    delete from towpath.receipt x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('receipts', n);
    delete from towpath.attempt x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('attempts', n);
    delete from towpath.input x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('inputs', n);
    delete from towpath.share x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('shares', n);
    delete from towpath.event_type x where x.process_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('event_types', n);
    delete from towpath.runner_job x where x.run_no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('runner_jobs', n);
    delete from towpath.process x where x.no = any(doomed);
    get diagnostics n = row_count; report := report || jsonb_build_object('processes', n);
    delete from :river.river_job x where x.id = any(jobs) and x.finalized_at is not null
      and coalesce(x.args ->> 'process_id', x.metadata ->> 'process_id') = any(ids);
    get diagnostics n = row_count; report := report || jsonb_build_object('river_jobs', n);
  end if;
  return (select jsonb_object_agg(r.key, r.value) from jsonb_each(report) r where r.value <> '0');
end $$;
comment on function towpath.prune_processes(timestamptz, jsonb, text[], timestamptz, bigint, integer, boolean) is 'One batch of processes, by the time of their end.';

create or replace function towpath.prune_sessions(cutoff timestamptz, filter jsonb, mark text[], after_at timestamptz, after_id text,
                                                  max integer, dry_run boolean) returns jsonb
language plpgsql volatile set plan_cache_mode = force_generic_plan as $$
declare
  t      timestamptz := towpath.now();
  picked text[];
  places text[];
  report jsonb;
  c      record;
  n      bigint;
begin
  if filter ?| '{class,status,kind,label}' then
    return jsonb_build_object('next', null);
  end if;
  select array_agg(x.id order by x.created_at, x.id), array_agg(format('session %s %s', to_char(x.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), x.id)
                                                                order by x.created_at, x.id)
  into picked, places from (
    select s.id, s.created_at from towpath.session s
    where s.created_at < coalesce(cutoff, t - (select min(r.sessions) from towpath.retention r)) and (s.created_at, s.id) > (after_at, after_id)
      and s.updated_at < coalesce(cutoff, t - towpath.keep('sessions', s.tenant, s.profile))
      and (mark is null or (s.change_xid, 999999999999999999, s.id) <= (mark[2]::xid8, mark[3]::bigint, mark[4]))
      and filter <@ jsonb_build_object('tenant', s.tenant, 'project', s.project, 'profile', s.profile, 'session', s.id)
      and s.storage in ('none', 'evicted')
      and not exists (select 1 from towpath.input i where i.session_id = s.id and i.finalized_at is null)
      and not exists (select 1 from towpath.process p where p.session_id = s.id
                      and not (dry_run and towpath.prunable(p, cutoff, filter, mark[2]::xid8, mark[3]::bigint)))
      and not exists (select 1 from (select h.process_no from towpath.share h where h.session_id = s.id
                                     union all select k.process_no from towpath.wake_target k where k.session_id = s.id) o
                      join towpath.process p on p.no = o.process_no
                      where not (dry_run and towpath.prunable(p, cutoff, filter, mark[2]::xid8, mark[3]::bigint)))
    order by s.created_at, s.id limit max) x;
  if picked is null then
    return jsonb_build_object('next', case when cutoff is null and filter = '{}' and mark is null then 'rest - ' end);
  end if;
  report := jsonb_build_object('next', places[cardinality(places)]);
  if not dry_run then
    select array_agg(x.id) into picked
    from (select s.id from towpath.session s where s.id = any(picked) order by s.id for update skip locked) x;
    select array_agg(x.id) into picked from unnest(picked) x(id) join towpath.session s using (id)
    where s.updated_at < coalesce(cutoff, t - towpath.keep('sessions', s.tenant, s.profile))
      and s.storage in ('none', 'evicted')
      and not exists (select 1 from towpath.process p where p.session_id = s.id)
      and not exists (select 1 from towpath.input i where i.session_id = s.id and i.finalized_at is null)
      and not exists (select 1 from towpath.share h where h.session_id = s.id)
      and not exists (select 1 from towpath.wake_target k where k.session_id = s.id);
    insert into towpath.tombstone as g (kind, id, status, tenant, project, profile, pruned_at)
    select 'session', s.id, s.runtime_state, s.tenant, s.project, s.profile, t from towpath.session s where s.id = any(picked)
    on conflict on constraint tombstone_pkey do update set status = excluded.status, tenant = excluded.tenant, project = excluded.project,
      profile = excluded.profile, pruned_at = excluded.pruned_at, change_xid = excluded.change_xid;
  end if;
  for c in select * from (values
    ('keys', 'delete from towpath.session_kv x where x.session_id = any($1)'),
    ('cursors', 'delete from towpath.cursor x where x.session_id = any($1)'),
    ('session_inputs', 'delete from towpath.input x where x.session_id = any($1) and x.process_no is null'),
    ('sessions', 'delete from towpath.session x where x.id = any($1)')) v(name, statement) loop
    if dry_run then
      execute regexp_replace(c.statement, '^delete from', 'select count(*) from') into n using picked;
    else
      execute c.statement using picked;
      get diagnostics n = row_count;
    end if;
    report := report || case when n > 0 then jsonb_build_object(c.name, n) else '{}' end;
  end loop;
  return report;
end $$;
comment on function towpath.prune_sessions(timestamptz, jsonb, text[], timestamptz, text, integer, boolean) is
'One batch of sessions that have no process, no open input and no files left, with which none is shared and which none wakes, by the time they were opened.';

create or replace function towpath.prune_rest(max integer, dry_run boolean) returns jsonb
language plpgsql volatile as $$
declare
  t     timestamptz := towpath.now();
  room  integer := max * 10;
  envs  text[];
  mods  text[];
  used  bigint;
  stale bigint;
  tasks integer;
  runtimes integer;
begin
  select array_agg(x.id) into envs from (
    select e.id from towpath.env e where e.created_at < t - interval '1 day'
      and not exists (select 1 from towpath.process p where p.env_id = e.id) order by e.id limit max for update skip locked) x;
  select array_agg(x.digest) into mods from (
    select m.digest from towpath.module m where m.digest in (select towpath.unpinned_modules()) order by m.digest limit max for update skip locked) x;
  tasks := towpath.prune_tasks(room, dry_run);
  runtimes := towpath.prune_runtimes(room, dry_run);
  if dry_run then
    select count(*) into used from towpath.usage u where u.at < t - towpath.keep('usage', u.tenant, u.profile);
    select count(*) into stale from towpath.tombstone g where g.pruned_at < t - towpath.keep('tombstones', g.tenant, g.profile);
    return jsonb_strip_nulls(jsonb_build_object('envs', cardinality(envs), 'modules', cardinality(mods), 'usage_rows', nullif(used, 0), 'tombstones', nullif(stale, 0),
      'tasks', nullif(tasks, 0), 'runtimes', nullif(runtimes, 0))) || '{"next": null}';
  end if;
  -- Looked at again under the lock: whoever wants an env holds it until his process is there.
  delete from towpath.env e where e.id = any(envs) and not exists (select 1 from towpath.process p where p.env_id = e.id);
  delete from towpath.module m where m.digest = any(mods) and m.digest in (select towpath.unpinned_modules());
  with gone as (
    delete from towpath.usage u using (
      select x.process_no, x.response_id from towpath.usage x
      where x.at < t - (select min(r.usage) from towpath.retention r) and x.at < t - towpath.keep('usage', x.tenant, x.profile) order by x.at limit room for update skip locked) o
    where u.process_no = o.process_no and u.response_id = o.response_id returning u.*
  ), summed as (
    insert into towpath.usage_day as d (day, tenant, project, profile, model, responses, unknown, input_tokens, cached_tokens, output_tokens, reasoning_tokens)
    select (g.at at time zone 'UTC')::date, g.tenant, g.project, g.profile, coalesce(g.model, ''), count(*),
           count(*) filter (where g.input_tokens is null or g.output_tokens is null),
           sum(g.input_tokens), sum(g.cached_tokens), sum(g.output_tokens), sum(g.reasoning_tokens)
    from gone g group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict on constraint usage_day_pkey do update set responses = d.responses + excluded.responses, unknown = d.unknown + excluded.unknown,
      input_tokens = coalesce(d.input_tokens + excluded.input_tokens, d.input_tokens, excluded.input_tokens),
      cached_tokens = coalesce(d.cached_tokens + excluded.cached_tokens, d.cached_tokens, excluded.cached_tokens),
      output_tokens = coalesce(d.output_tokens + excluded.output_tokens, d.output_tokens, excluded.output_tokens),
      reasoning_tokens = coalesce(d.reasoning_tokens + excluded.reasoning_tokens, d.reasoning_tokens, excluded.reasoning_tokens)
  )
  select count(*) into used from gone;
  with gone as (
    delete from towpath.tombstone g using (
      select x.kind, x.id from towpath.tombstone x
      where x.pruned_at < t - (select min(r.tombstones) from towpath.retention r) and x.pruned_at < t - towpath.keep('tombstones', x.tenant, x.profile) order by x.pruned_at, x.id limit room for update skip locked) o
    where g.kind = o.kind and g.id = o.id returning 1)
  select count(*) into stale from gone;
  return jsonb_strip_nulls(jsonb_build_object('envs', cardinality(envs), 'modules', cardinality(mods), 'usage_rows', nullif(used, 0), 'tombstones', nullif(stale, 0),
      'tasks', nullif(tasks, 0), 'runtimes', nullif(runtimes, 0)))
    || jsonb_build_object('next', case when room in (used, stale, tasks, runtimes) or max in (cardinality(envs), cardinality(mods)) then 'rest - ' end);
end $$;
comment on function towpath.prune_rest(integer, boolean) is 'One batch of what no process owns: environments and modules that nobody names, usage and tombstones past retention.';
