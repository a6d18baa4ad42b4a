create or replace function towpath.recent_json(p_no bigint, p_last bigint, p_max integer) returns jsonb
language sql stable as $$
  select coalesce(jsonb_agg(jsonb_build_object('seq', e.seq, 'type', e.type, 'data', e.data, 'at', e.at) order by e.seq), '[]')
  from towpath.event e where e.process_no = p_no and e.seq > p_last - p_max
$$;
comment on function towpath.recent_json(bigint, bigint, integer) is 'The newest events of a process, oldest first.';

create or replace function towpath.check_work(events integer, max integer) returns void
language plpgsql immutable as $$
begin
  if events is null or events not between 0 and 500 or max is null or max not between 1 and 1000 then
    perform towpath.fail('TW400', 'events is not between 0 and 500, or max not between 1 and 1000');
  end if;
end $$;
comment on function towpath.check_work(integer, integer) is 'Refuses an answer without bounds.';

create or replace function towpath.session_work(session text, events integer default 32, max integer default 200)
returns table (process towpath.processes, shared boolean, wakes boolean, descriptor jsonb, recent jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.check_work(events, max);
  if not exists (select 1 from towpath.session s where s.id = session) then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  return query
  with page as materialized (
    select p.no, p.id, p.last_seq, p.updated_at, p.created_at, h.scope is not null as shared, w.session_id is not null as wakes,
           coalesce(h.descriptor, '{}') as descriptor
    from (select x.process_no from towpath.share x where x.scope = 'session:' || session_work.session
          union select x.process_no from towpath.wake_target x where x.session_id = session_work.session) a
    join towpath.process p on p.no = a.process_no
    left join towpath.share h on h.process_no = p.no and h.scope = 'session:' || session_work.session
    left join towpath.wake_target w on w.process_no = p.no and w.session_id = session_work.session
    order by p.updated_at desc, p.created_at desc, p.id limit max
  )
  select v, g.shared, g.wakes, g.descriptor, towpath.recent_json(g.no, g.last_seq, events)
  from page g join towpath.processes v using (id) order by g.updated_at desc, g.created_at desc, g.id;
end $$;
comment on function towpath.session_work(text, integer, integer) is
'What a session has to do with: the processes that are shared with it and those whose end wakes it, last changed first, each with its newest events, oldest first. To follow: towpath.changes, then this again.';

create or replace function towpath.work(filter jsonb default '{}', after text default null, max integer default 100, events integer default 32)
returns table (place text, process towpath.processes, recent jsonb)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform towpath.check_work(events, max);
  return query
  select l.place, l.process, towpath.recent_json(p.no, p.last_seq, events)
  from towpath.processes_list(filter, after, max) with ordinality l(place, process, ord) join towpath.process p on p.id = (l.process).id order by l.ord;
end $$;
comment on function towpath.work(jsonb, text, integer, integer) is
'processes_list with the newest events of each process: everything, whoever may address it, also where the session is gone.';
