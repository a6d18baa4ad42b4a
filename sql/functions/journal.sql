create or replace function towpath.journal(process_id text)
returns table (first_n integer, count integer, entries bytea, open jsonb, fence bigint, at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select j.first_n, j.count, j.entries, j.open, j.fence, j.at from towpath.journal j
               where j.process_no = towpath.no_of(process_id) order by j.first_n;
end $$;
comment on function towpath.journal(text) is 'The recorded host calls of a turn, in order. A day after the turn has ended they are gone.';

create or replace function towpath.emitted(process_no bigint) returns setof bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select e.seq from towpath.process p
  join towpath.attempt a on a.process_no = p.no and a.attempt = p.attempt
  join towpath.event e on e.process_no = p.no and e.seq > a.first_seq
  where p.no = emitted.process_no and e.fence is not null and not starts_with(e.type, 'process.') order by e.seq
$$;
comment on function towpath.emitted(bigint) is 'Sequence numbers of what the guest of a running turn has emitted since its journal began.';

create or replace function towpath.forget(process_no bigint, fence bigint, reason text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p    towpath.process := towpath.owned(process_no, fence);
  said bigint := (select a.first_seq from towpath.attempt a where a.process_no = p.no and a.attempt = p.attempt);
begin
  delete from towpath.journal j where j.process_no = p.no;
  if exists (select 1 from towpath.event e where e.process_no = p.no and e.seq > said and e.fence is not null) then
    perform towpath.note(p.no, 'process.retracted', jsonb_build_object('attempt', p.attempt, 'from_seq', said + 1, 'to_seq', p.last_seq));
  end if;
  said := towpath.note(p.no, 'process.restarted', jsonb_build_object('reason', reason));
  update towpath.attempt a set first_seq = said where a.process_no = p.no and a.attempt = p.attempt;
  update towpath.input i set phase = 'queued', updated_at = towpath.now()
  where i.process_no = p.no and i.kind <> 'turn' and i.phase in ('queued', 'staged', 'applied');
end $$;
comment on function towpath.forget(bigint, bigint, text) is 'The owner begins a turn anew because its journal cannot be replayed here: the journal goes, what was said is taken back.';
