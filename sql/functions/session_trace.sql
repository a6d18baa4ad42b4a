create or replace function towpath.session_trace(session text, run text default null, after text default null, max integer default 100,
                                                 only_output boolean default false) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  p     towpath.process;
  e     towpath.event;
  place bigint;
  said  bigint;
  items jsonb[] := '{}';
  room  integer := max;
begin
  if after !~ '^[0-9]{1,15}[.][0-9]{1,15}$' then
    perform towpath.fail('TW400', 'after is not the cursor of an earlier page', 'pass its member next');
  end if;
  place := coalesce(split_part(after, '.', 1)::bigint, 0);
  said := coalesce(split_part(after, '.', 2)::bigint, 0);
  if max is null or max not between 1 and 500 then
    perform towpath.fail('TW400', 'max is not between 1 and 500');
  end if;
  if not exists (select 1 from towpath.session s where s.id = session) then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  if run is not null and not exists (select 1 from towpath.process r where r.id = run and r.class = 'run' and r.session_id = session) then
    perform towpath.fail('TW404', format('session "%s" has no run "%s"', session, run));
  end if;
  for p in select * from towpath.process x where x.session_id = session and x.turn_no >= place and (run is null or x.parent_id = run)
           order by x.turn_no loop
    if p.turn_no > place then
      place := p.turn_no; said := 0;
    end if;
    for e in select * from towpath.event x where x.process_no = p.no and x.seq > said order by x.seq limit room loop
      said := e.seq;
      room := room - 1;
      if not only_output or e.type in ('message', 'message.delta', 'tool.output', 'process.retracted', 'process.completed', 'process.failed',
                                       'process.cancelled', 'process.abandoned') then
        items := items || jsonb_build_object('process', p.id, 'turn', p.turn_no, 'seq', e.seq, 'type', e.type, 'data', e.data, 'at', e.at);
      end if;
    end loop;
    -- A turn that can still say something comes before all that wait behind it.
    exit when room = 0 or p.finalized_at is null;
  end loop;
  return jsonb_build_object('items', to_jsonb(items), 'next', place || '.' || said, 'more', room = 0);
end $$;
comment on function towpath.session_trace(text, text, text, integer, boolean) is
'What the turns of a session, or of one of its runs, have said, in order: {"items": […], "next", "more"}. Read on with after = next; it moves forward also over pages that only_output leaves empty. Up to 500 events a page.';
