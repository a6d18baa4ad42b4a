create or replace function towpath.mark_read(reader text, session text, change_no bigint default null) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  s   towpath.session;
  old bigint;
begin
  if coalesce(reader, '') = '' or length(reader) > 200 then
    perform towpath.fail('TW400', 'reader is not a name of 1 to 200 characters');
  end if;
  -- Locked, so that no change slips in between what is read and what is noted.
  select * into s from towpath.session x where x.id = mark_read.session for no key update;
  if not found then
    perform towpath.fail('TW404', format('unknown session "%s"', coalesce(session, '')));
  end if;
  if change_no > s.change_no then
    perform towpath.fail('TW400', format('session "%s" is at change %s, not yet at %s', s.id, s.change_no, change_no));
  end if;
  select c.position into old from towpath.cursor c where c.reader = mark_read.reader and c.stream = 'session:' || s.id;
  if coalesce(change_no, s.change_no) < old then
    perform towpath.fail('TW409', format('reader "%s" has read session "%s" up to %s', reader, s.id, old), 'what has been read stays read');
  end if;
  insert into towpath.cursor as c (reader, stream, position, session_id, updated_at)
  values (reader, 'session:' || s.id, coalesce(change_no, s.change_no), s.id, towpath.now())
  on conflict on constraint cursor_pkey do update set position = excluded.position, updated_at = excluded.updated_at;
  return coalesce(change_no, s.change_no);
end $$;
comment on function towpath.mark_read(text, text, bigint) is
'A reader has seen a session up to a change number, by default its newest, which is returned. It never moves back.';

create or replace function towpath.forget_reader(reader text) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
  with gone as (delete from towpath.cursor c where c.reader = forget_reader.reader returning 1) select count(*) from gone
$$;
comment on function towpath.forget_reader(text) is 'Drops all positions of a reader and returns how many there were.';

create or replace trigger towpath_forward before update of position on towpath.cursor
  for each row when (new.position < old.position) execute function towpath.refuse_change('a reader never moves back');
