create or replace function towpath.events(process_id text, after bigint default 0, max integer default 500)
returns table (seq bigint, type text, data jsonb, at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  n bigint := towpath.no_of(process_id);
begin
  if max not between 1 and 10000 or max is null then
    perform towpath.fail('TW400', 'max is not between 1 and 10000');
  end if;
  return query select e.seq, e.type, e.data, e.at from towpath.event e
               where e.process_no = n and e.seq > coalesce(after, 0) order by e.seq limit max;
end $$;
comment on function towpath.events(text, bigint, integer) is
'The events of a process after a sequence number, oldest first. Follow by calling again with the last seq; LISTEN towpath_events wakes you (payload: process ids, or *).';
