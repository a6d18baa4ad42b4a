create or replace function towpath.task_filter(filter jsonb) returns text
language plpgsql stable as $$
declare
  wrong text := towpath.misfit(filter, '{"type": "object", "additionalProperties": false, "properties": {
    "tenant": {"type": "string"}, "project": {"type": "string"}, "queue": {"type": "string"}, "lane": {"type": "string"}, "profile": {"type": "string"},
    "reader": {"type": "string"}, "state": {"enum": ["live", "ended", "any", "pending", "claimed", "running", "waiting", "completed", "failed", "blocked", "cancelled"]}}}', 'filter');
begin
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'filters are tenant, project, queue, lane, profile, reader, state (live, ended, any, or one of them)');
  end if;
  return (select coalesce(string_agg(case
      when k = 'reader' or v = 'any' and k = 'state' then ''
      when k = 'state' and v = 'live' then ' and t.finalized_at is null'
      when k = 'state' and v = 'ended' then ' and t.finalized_at is not null'
      -- The live states are in the index of the live.
      when k = 'state' and v in ('pending', 'claimed', 'running', 'waiting') then format(' and t.finalized_at is null and t.state = %L', v)
      else format(' and t.%I = %L', k, v) end, ''), '')
    from jsonb_each_text('{"state": "live"}' || filter) e(k, v));
end $$;
comment on function towpath.task_filter(jsonb) is 'A filter of tasks as conditions on t; only those that are asked for, so that the planner can take their index.';

create or replace function towpath.task_list(filter jsonb default '{}', after text default null, max integer default 50)
returns table (place text, task towpath.task_heads, unread boolean)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  cond text := towpath.task_filter(filter);
  part text[];
begin
  if max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'max is not between 1 and 1000');
  end if;
  if after is not null then
    part := regexp_match(after, '^(-?\d{1,7}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (.+)$');
    if part is null then
      perform towpath.fail('TW400', 'after is not a place of this list', 'pass the place of the last row, or nothing');
    end if;
    cond := cond || format(' and (-t.priority, t.created_at, t.id) > (-(%L::int), %L::timestamptz, %L)', part[1], part[2], part[3]);
  end if;
  return query execute format(
    'with page as materialized (select t.id, t.priority, t.created_at from towpath.task t where true%s order by -t.priority, t.created_at, t.id limit %s)
     select g.priority || to_char(g.created_at at time zone ''UTC'', '' YYYY-MM-DD"T"HH24:MI:SS.US"Z" '') || g.id, h,
            case when %3$L is not null then h.change_no > coalesce(c.position, 0) end
     from page g join towpath.task_heads h using (id) left join towpath.cursor c on c.reader = %3$L and c.stream = ''task:'' || g.id
     order by -g.priority, g.created_at, g.id', cond, max, filter ->> 'reader');
end $$;
comment on function towpath.task_list(jsonb, text, integer) is
'Tasks in the order in which they are to be done: the highest priority first, then the oldest. None of it changes, so pages neither lose nor repeat one. after: the place of the last row of the page before. filter: tenant, project, queue, lane, profile, state (live by default; ended, any, or one of them), reader (then unread says whether that reader has seen the newest change).';

create or replace function towpath.task_changes(cursor text default null, max integer default 500, queue text default null)
returns table (place text, task towpath.task_heads)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
  epoch   bigint := (select s.feed_epoch from towpath.store s);
  part    text[];
  at_xid  xid8 := '0';
  at_no   bigint := 0;
begin
  if max is null or max not between 0 and 10000 then
    perform towpath.fail('TW400', 'max is not from 0 to 10000');
  end if;
  if cursor <> '' then
    part := regexp_match(cursor, '^(\d{1,18}):(\d{1,19}):(\d{1,18}):$');
    if part is null then
      perform towpath.fail('TW400', 'cursor is not a place of this feed', 'pass the place of the last row, or nothing to begin');
    end if;
    at_xid := part[2]::xid8; at_no := part[3];
    if part[1]::bigint <> epoch or at_xid > pg_snapshot_xmax(pg_current_snapshot()) then
      perform towpath.fail('TW40R', 'the feed has begun anew since this cursor', 'read everything once more, from a cursor of towpath.changes_now()');
    end if;
  end if;
  return query
  select format('%s:%s:%s:', epoch, g.change_xid, g.no), h
  from (select t.id, t.change_xid, t.no from towpath.task t
        where (t.change_xid, t.no) > (at_xid, at_no) and t.change_xid < horizon and (task_changes.queue is null or t.queue = task_changes.queue)
        order by t.change_xid, t.no limit max) g
  join towpath.task_heads h using (id) order by g.change_xid, g.no;
end $$;
comment on function towpath.task_changes(text, integer, text) is
'Which tasks have changed after a place, in the order of transactions, each as it is now: as towpath.changes does for processes. The order in which tasks are to be done is another one: towpath.task_list.';

create or replace function towpath.task_stats(filter jsonb default '{}') returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  said jsonb;
begin
  perform towpath.task_filter(filter);
  if filter ?| '{state,profile,reader}' then
    perform towpath.fail('TW400', 'tasks are counted by tenant, project, queue and lane');
  end if;
  with counted as (
    select c.queue, c.lane, c.state, sum(c.n) as n from towpath.task_count c
    where c.tenant = coalesce(filter ->> 'tenant', c.tenant) and c.project = coalesce(filter ->> 'project', c.project)
      and c.queue = coalesce(filter ->> 'queue', c.queue) and c.lane = coalesce(filter ->> 'lane', c.lane)
    group by c.queue, c.lane, c.state having sum(c.n) <> 0
  )
  select jsonb_build_object('total', coalesce(sum(x.n), 0),
    'live', coalesce(sum(x.n) filter (where x.state in ('pending', 'claimed', 'running', 'waiting')), 0),
    'states', (select coalesce(jsonb_object_agg(y.state, y.n), '{}') from (select z.state, sum(z.n) as n from counted z group by 1) y),
    'queues', (select coalesce(jsonb_object_agg(y.queue, y.n), '{}') from (select z.queue, sum(z.n) as n from counted z group by 1) y),
    'lanes', (select coalesce(jsonb_object_agg(y.lane, y.n), '{}') from (select z.lane, sum(z.n) as n from counted z group by 1) y))
  into said from counted x;
  return said;
end $$;
comment on function towpath.task_stats(jsonb) is
'How many tasks there are: {"total", "live", "states", "queues", "lanes"}. filter: tenant, project, queue, lane. Its cost does not depend on how many.';

create or replace function towpath.task_commander(filter jsonb default '{}', top integer default 20) returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select jsonb_build_object('stats', towpath.task_stats(filter), 'generated_at', towpath.now(),
    'items', (select coalesce(jsonb_agg(to_jsonb(l.task) order by l.ord), '[]')
              from towpath.task_list(filter, null, top) with ordinality l(place, task, unread, ord)))
$$;
comment on function towpath.task_commander(jsonb, integer) is
'What somebody who directs a queue looks at: {"stats", "items": the live tasks that come first, "generated_at"}. filter: tenant, project, queue, lane.';
