create or replace function towpath.session_delete(session text, out gone boolean, out revoked integer, out orphaned text[], out preserved text[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s    towpath.session;
  held bigint[];
begin
  select * into s from towpath.session x where x.id = session_delete.session for update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  perform 1 from towpath.share h where h.session_id = s.id order by h.process_no, h.scope for update;
  with taken as (delete from towpath.share h where h.session_id = s.id returning h.process_no)
  select count(*), array_agg(distinct t.process_no) into revoked, held from taken t;
  delete from towpath.wake_target w where w.session_id = s.id;
  delete from towpath.completion c where c.session_id = s.id;
  select coalesce(array_agg(p.id order by p.no) filter (where not h.any), '{}'), coalesce(array_agg(p.id order by p.no) filter (where h.any), '{}')
  into orphaned, preserved
  from towpath.process p cross join lateral (select exists (select 1 from towpath.share x where x.process_no = p.no) as any) h
  where p.no = any(held) and p.finalized_at is null;
  gone := not exists (select 1 from towpath.process p where p.session_id = s.id);
  if gone then
    delete from towpath.session x where x.id = s.id;
  elsif s.runtime_state = 'idle' then
    perform towpath.session_control(s.id, 'retire', 'deleted');
  end if;
end $$;
comment on function towpath.session_delete(text) is
'Takes from a session what is shared with it, with all its frames, and what would wake it. No process is cancelled or deleted: orphaned are the live ones that nobody may address any more, preserved those that others still may. The session itself is gone, or, while it has turns, retired: it takes nothing new, what is queued is still done, and prune removes it.';
