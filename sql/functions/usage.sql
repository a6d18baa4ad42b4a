create or replace function towpath.usage_put(process_no bigint, fence bigint, response_id text, model text default null,
                                             input_tokens bigint default null, cached_tokens bigint default null,
                                             output_tokens bigint default null, reasoning_tokens bigint default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p towpath.process;
begin
  if coalesce(response_id, '') = '' or length(response_id) > 500 or length(model) > 500 then
    perform towpath.fail('TW400', 'response_id is not 1 to 500 characters, or model above 500');
  end if;
  if least(input_tokens, cached_tokens, output_tokens, reasoning_tokens) < 0 then
    perform towpath.fail('TW400', 'a count is below 0', 'leave out what is not known');
  end if;
  p := towpath.owned(process_no, fence);
  if p.session_id is null then
    perform towpath.fail('TW409', format('process "%s" has no session', p.id));
  end if;
  insert into towpath.usage as u (process_no, response_id, session_id, tenant, project, profile, model, input_tokens, cached_tokens,
                                  output_tokens, reasoning_tokens, fence, at)
  values (p.no, response_id, p.session_id, p.tenant, p.project, p.profile, model, input_tokens, cached_tokens, output_tokens, reasoning_tokens,
          fence, towpath.now())
  on conflict on constraint usage_pkey do update set model = coalesce(excluded.model, u.model),
    input_tokens = coalesce(excluded.input_tokens, u.input_tokens), cached_tokens = coalesce(excluded.cached_tokens, u.cached_tokens),
    output_tokens = coalesce(excluded.output_tokens, u.output_tokens), reasoning_tokens = coalesce(excluded.reasoning_tokens, u.reasoning_tokens),
    fence = excluded.fence;
end $$;
comment on function towpath.usage_put(bigint, bigint, text, text, bigint, bigint, bigint, bigint) is
'The owner of a turn reports what one response of the model cost. Reported again, for example by a replay, it is still one response: what is known now takes the place of what was known.';

create or replace view towpath.usage_by_day as
  select (u.at at time zone 'UTC')::date as day, u.tenant, u.project, u.profile, u.model, u.session_id as session, count(*) as responses,
         count(*) filter (where u.input_tokens is null or u.output_tokens is null) as unknown,
         sum(u.input_tokens) as input_tokens, sum(u.cached_tokens) as cached_tokens,
         sum(u.output_tokens) as output_tokens, sum(u.reasoning_tokens) as reasoning_tokens
  from towpath.usage u group by 1, 2, 3, 4, 5, 6
  union all
  select d.day, d.tenant, d.project, d.profile, nullif(d.model, ''), null, d.responses, d.unknown,
         d.input_tokens, d.cached_tokens, d.output_tokens, d.reasoning_tokens
  from towpath.usage_day d;
comment on view towpath.usage_by_day is 'Cost by UTC day, tenant, project, profile, model and session; past retention without the session. unknown counts the responses whose tokens nobody told: the sums do not have them.';

create or replace function towpath.usage_record(nos bigint[], fences bigint[], event_fences bigint[], types text[], data text[]) returns void
language plpgsql volatile set plan_cache_mode = force_generic_plan as $$
declare
  t timestamptz := towpath.now();
begin
  insert into towpath.usage as u (process_no, response_id, session_id, tenant, project, profile, model, input_tokens, cached_tokens,
                                  output_tokens, reasoning_tokens, fence, at)
  select p.no, x.id, p.session_id, p.tenant, p.project, p.profile, towpath.latest(x.model), towpath.latest(x.input), towpath.latest(x.cached),
         towpath.latest(x.output), towpath.latest(x.reasoning), x.fence, t
  from (
    select f.no, f.fence, coalesce(left(nullif(d.d ->> 'response_id', ''), 500), 'unnamed ' || gen_random_uuid()) as id,
           array_agg(left(d.d ->> 'model', 500) order by e.ord) as model, array_agg(towpath.tokens(d.d, 'input_tokens') order by e.ord) as input,
           array_agg(towpath.tokens(d.d, 'cached_tokens') order by e.ord) as cached, array_agg(towpath.tokens(d.d, 'output_tokens') order by e.ord) as output,
           array_agg(towpath.tokens(d.d, 'reasoning_tokens') order by e.ord) as reasoning
    from unnest(event_fences, types, usage_record.data) with ordinality e(fence, type, data, ord)
    join (select distinct * from unnest(nos, fences)) f(no, fence) using (fence)
    cross join lateral (select towpath.event_data(e.data) as d) d
    where e.type = 'usage' group by 1, 2, 3) x
  join towpath.process p on p.no = x.no
  join towpath.lease l on l.process_no = x.no and l.fence = x.fence and l.expires_at > t
  where p.session_id is not null
  on conflict on constraint usage_pkey do update set model = coalesce(excluded.model, u.model),
    input_tokens = coalesce(excluded.input_tokens, u.input_tokens), cached_tokens = coalesce(excluded.cached_tokens, u.cached_tokens),
    output_tokens = coalesce(excluded.output_tokens, u.output_tokens), reasoning_tokens = coalesce(excluded.reasoning_tokens, u.reasoning_tokens),
    fence = excluded.fence;
end $$;
comment on function towpath.usage_record(bigint[], bigint[], bigint[], text[], text[]) is
'Enters what the usage events of a batch say into the ledger, in the transaction that stores them: usage_put for many. A response without a name is a row of its own; a count that is none is not known.';

create or replace function towpath.tokens(data jsonb, key text) returns bigint
language sql immutable as $$
  select case when jsonb_typeof(data -> key) = 'number' and (data ->> key)::numeric between 0 and 1e15 then (data ->> key)::numeric::bigint end
$$;
comment on function towpath.tokens(jsonb, text) is 'A count that a guest told, or null.';

create or replace function towpath.latest(told anyarray) returns anyelement
language sql immutable as $$
  select x.v from unnest(told) with ordinality x(v, ord) where x.v is not null order by x.ord desc limit 1
$$;
comment on function towpath.latest(anyarray) is 'The last one that is known.';

create or replace function towpath.usage_summary(by text default 'day', since date default null, until date default null, filter jsonb default '{}')
returns table (key text, responses numeric, unknown numeric, input_tokens numeric, cached_tokens numeric, output_tokens numeric, reasoning_tokens numeric)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  wrong text := towpath.misfit(filter, '{"type": "object", "additionalProperties": false, "properties": {"tenant": {"type": "string"},
    "project": {"type": "string"}, "profile": {"type": "string"}, "model": {"type": "string"}, "session": {"type": "string"}}}', 'filter');
begin
  if by is null or by not in ('day', 'session', 'profile', 'model', 'project', 'tenant') then
    perform towpath.fail('TW400', format('usage is not summed by "%s"', coalesce(by, '')), 'by day, session, profile, model, project or tenant');
  end if;
  if wrong is not null then
    perform towpath.fail('TW400', wrong, 'filters are tenant, project, profile, model and session');
  end if;
  return query
  select d.fields ->> by, sum(d.responses), sum(d.unknown), sum(d.input_tokens), sum(d.cached_tokens), sum(d.output_tokens), sum(d.reasoning_tokens)
  from (select to_jsonb(x) as fields, x.* from towpath.usage_by_day x
        where (since is null or x.day >= since) and (usage_summary.until is null or x.day <= usage_summary.until)) d
  where filter <@ d.fields
  group by 1 order by case when by = 'day' then d.fields ->> by end, sum(d.input_tokens) desc nulls last, 1;
end $$;
comment on function towpath.usage_summary(text, date, date, jsonb) is
'Cost by UTC day (oldest first), or by session, profile, model, project or tenant (dearest first), over days from since to until, both included. filter: exact tenant, project, profile, model, session. What is past retention has no session any more and stands under null.';

create or replace function towpath.turn_usage(process_ids text[])
returns table (process_id text, output_tokens bigint, seconds double precision)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select p.id, sum(u.output_tokens)::bigint, extract(epoch from max(u.at) - (p.first_started ->> 'at')::timestamptz)::double precision
  from towpath.process p join towpath.usage u on u.process_no = p.no
  where p.id = any(process_ids) and u.output_tokens is not null
  group by p.id, p.first_started
$$;
comment on function towpath.turn_usage(text[]) is
'What the turns of a list have been told so far: output tokens, and the seconds from their first start to the newest count. A turn that was told of none is left out.';
