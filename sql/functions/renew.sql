create or replace function towpath.renew(node text, incarnation uuid, ttl interval, executing bigint[] default null) returns table (process_no bigint, fence bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  update towpath.node n set seen_at = towpath.now() where n.id = renew.node and n.incarnation = renew.incarnation;
  -- A lapsed lease that nobody has taken is still its owner's.
  return query
  with held as (
    select l.process_no from towpath.lease l where l.incarnation = renew.incarnation
      and (executing is null or l.process_no = any(executing)) order by l.process_no for no key update
  )
  update towpath.lease l set expires_at = towpath.now() + ttl from held
  where l.process_no = held.process_no and l.incarnation = renew.incarnation returning l.process_no, l.fence;
end $$;
comment on function towpath.renew(text, uuid, interval, bigint[]) is
'Extends the leases of an incarnation and returns what it still holds: all, or those of the processes that it is executing. What nobody executes any more lapses.';

create or replace function towpath.poll(nos bigint[], fences bigint[])
returns table (process_no bigint, kind text, id text, payload jsonb)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
begin
  -- Whoever writes inputs of a process has locked its row.
  perform 1 from towpath.process p where p.no = any(nos) order by p.no for no key update;
  return query
  select p.no, 'cancel', null::text, jsonb_build_object('reason', p.cancel_reason,
    'grace_ms', greatest(0, (extract(epoch from p.cancel_deadline - towpath.now()) * 1000)::bigint))
  from unnest(nos, fences) f(no, fence) join towpath.process p using (no) join towpath.lease l on l.process_no = p.no and l.fence = f.fence
  where p.cancel_requested_at is not null and p.finalized_at is null;
  return query
  with taken as (
    update towpath.input i set phase = 'staged', attempts = i.attempts + (i.phase = 'queued')::int, updated_at = towpath.now()
    from unnest(nos, fences) f(no, fence) join towpath.lease l on l.process_no = f.no and l.fence = f.fence
    where i.process_no = f.no and i.phase in ('queued', 'staged') and i.kind in ('steer', 'answer')
    returning i.*
  )
  select x.process_no, x.kind, x.id, towpath.content_of(x::towpath.input) || jsonb_build_object('type', x.kind, 'id', x.id) from taken x order by x.seq;
end $$;
comment on function towpath.poll(bigint[], bigint[]) is
'What the owners of these turns have to hear: cancel requests, and inputs that no guest has observed; those count as staged from now. An answer may be lost on the way, so an input comes until it is applied.';
