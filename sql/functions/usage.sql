create or replace function towpath.usage_put(process_no bigint, fence bigint, response_id text, model text default null,
                                             input_tokens bigint default null, cached_tokens bigint default null,
                                             output_tokens bigint default null, reasoning_tokens bigint default null) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
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
