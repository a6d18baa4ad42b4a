create or replace view towpath.approvals as
  select p.id as process, p.session_id as session, p.profile, e.data ->> 'id' as approval, e.data ->> 'of' as of, e.data ->> 'command' as command,
         e.data ->> 'cwd' as cwd, e.data ->> 'reason' as reason, e.data -> 'choices' as choices, e.at as since, e.seq
  from towpath.process p join towpath.event e on e.process_no = p.no
  where p.finalized_at is null and e.type = 'approval.requested'
    and not exists (select 1 from towpath.event a where a.process_no = p.no and a.seq > e.seq
      and (a.type = 'approval.answered' and a.data ->> 'id' = e.data ->> 'id'
           or a.type = 'process.retracted' and e.seq between (a.data ->> 'from_seq')::bigint and (a.data ->> 'to_seq')::bigint));
comment on view towpath.approvals is 'What running turns wait for somebody to allow, and with which choices.';

create or replace function towpath.approve(process_id text, approval text default null, decision text default 'accept', idempotency_key text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p     towpath.process := towpath.locked(process_id);
  open  text[];
  w     towpath.approvals;
  given towpath.input;
begin
  select array_agg(a.approval order by a.seq) into open from towpath.approvals a where a.process = p.id;
  if approval is null then
    if coalesce(cardinality(open), 0) <> 1 then
      perform towpath.fail('TW409', format('process "%s" waits for %s approvals', p.id, coalesce(cardinality(open), 0)),
                           case when open is null then 'towpath.approvals lists what waits' else 'name one of ' || array_to_string(open, ', ') end);
    end if;
    approval := open[1];
  end if;
  -- The same answer again is the same input; another one comes too late.
  select i.* into given from towpath.input i
  where i.process_no = p.no and i.kind = 'answer' and towpath.content_of(i) ->> 'to' = approval order by i.seq limit 1;
  if found then
    if towpath.content_of(given) -> 'output' = to_jsonb(decision) then
      return given.id;
    end if;
    perform towpath.fail('TW409', format('approval "%s" has been answered', approval), 'the first answer counts');
  end if;
  select a.* into w from towpath.approvals a where a.process = p.id and a.approval = approve.approval order by a.seq desc limit 1;
  if not found then
    perform towpath.fail('TW404', format('process "%s" does not wait for approval "%s"', p.id, approval), 'towpath.approvals lists what waits');
  end if;
  if coalesce(decision, '') = '' or w.of <> 'question' and not w.choices ? decision then
    perform towpath.fail('TW400', format('"%s" is no choice', coalesce(decision, '')),
                         coalesce('choices are ' || (select string_agg(c, ', ') from jsonb_array_elements_text(w.choices) c), 'any text answers a question'));
  end if;
  return towpath.address(p.id, 'answer', jsonb_build_object('to', approval, 'output', decision), idempotency_key);
end $$;
comment on function towpath.approve(text, text, text, text) is
'Decides what a running turn waits to be allowed, as towpath.approvals lists it, and returns the input''s id. Without an approval it is the only one that waits. The first answer counts; the same again is answered with the same input.';
