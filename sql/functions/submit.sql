create or replace function towpath.submit(profile text, input jsonb, session text default null,
                                          idempotency_key text default null, options jsonb default '{}') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  return (select a.process_id from towpath.accept_turn(profile, input, session, idempotency_key, options) a);
end $$;
comment on function towpath.submit(text, jsonb, text, text, jsonb) is
'Submits one turn and returns its process id. Without a session it opens a new one. The same idempotency key and request give the same process, the same key and another request an error. options: id, tenant, project, priority 1-4, max_attempts, timeout_s, scheduled_at, late_steer (next or reject), fallback (a profile that goes on, in a new session, when the allowance of this one or the attempts are spent), traceparent (W3C Trace Context: the trace that the turn''s spans join; no part of what a key is compared by).';

create or replace function towpath.submit_many(items jsonb) returns table (item bigint, process_id text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  i record;
begin
  if jsonb_typeof(items) is distinct from 'array' then
    perform towpath.fail('TW400', 'submit_many wants a JSON array',
                         'each element is {"profile", "input", "session", "idempotency_key", "options"}');
  end if;
  -- In session order, so that two bulk submits that share sessions lock them alike.
  for i in select ord, e.value as v from jsonb_array_elements(items) with ordinality e(value, ord)
           order by e.value ->> 'session', e.value ->> 'idempotency_key', ord
  loop
    item := i.ord;
    process_id := towpath.accept_args(i.v, 'item ' || i.ord);
    return next;
  end loop;
end $$;
comment on function towpath.submit_many(jsonb) is
'Submits an array of turns in one transaction: all or none. Each element has the keys of submit. item is its place, from 1.';
