create or replace function towpath.changes(cursor text default null, max integer default 500)
returns table (place text, kind text, id text, status text, session text, last_seq bigint, finalized_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- Every transaction below it has ended, and is in this statement's snapshot if it committed.
  horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
  epoch   bigint := (select s.feed_epoch from towpath.store s);
  part    text[];
  at_xid  xid8 := '0';
  at_no   bigint := 0;
  at_id   text := '';
begin
  if max is null or max not between 0 and 10000 then
    perform towpath.fail('TW400', 'max is not from 0 to 10000');
  end if;
  if cursor <> '' then
    part := regexp_match(cursor, '^(\d{1,18}):(\d{1,19}):(\d{1,18}):(.*)$');
    if part is null then
      perform towpath.fail('TW400', 'cursor is not a place of this feed', 'pass the place of the last row, or nothing to begin');
    end if;
    at_xid := part[2]::xid8; at_no := part[3]; at_id := part[4];
    -- A cursor from the future was given out by a database that this one was restored from.
    if part[1]::bigint <> epoch or at_xid > pg_snapshot_xmax(pg_current_snapshot()) then
      perform towpath.fail('TW40R', 'the feed has begun anew since this cursor', 'read everything once more, from a cursor of towpath.changes_now()');
    end if;
  end if;
  return query
  select format('%s:%s:%s:%s', epoch, c.xid, c.no, c.key), c.kind, c.id, c.status, c.session, c.last_seq, c.finalized_at
  from (
    (select p.change_xid as xid, p.no, '' as key, 'process' as kind, p.id, p.status, p.session_id as session, p.last_seq, p.finalized_at
     from towpath.process p
     where (p.change_xid, p.no) > (at_xid, at_no) and p.change_xid < horizon order by p.change_xid, p.no limit max)
    union all
    (select g.change_xid, g.no, '', 'pruned process', g.id, g.status, g.session_id, g.last_seq, g.finalized_at
     from towpath.tombstone g
     where g.kind = 'process' and (g.change_xid, g.no) > (at_xid, at_no) and g.change_xid < horizon order by g.change_xid, g.no limit max)
    union all
    -- In a transaction, sessions come after all processes.
    (select s.change_xid, 999999999999999999, s.id, 'session', s.id, s.runtime_state, s.id, null, null
     from towpath.session s
     where (s.change_xid, s.id) > (at_xid, at_id) and s.change_xid < horizon order by s.change_xid, s.id limit max)
    union all
    (select g.change_xid, 999999999999999999, g.id, 'pruned session', g.id, g.status, g.id, null, null
     from towpath.tombstone g
     where g.kind = 'session' and (g.change_xid, g.id) > (at_xid, at_id) and g.change_xid < horizon order by g.change_xid, g.id limit max)
  ) c order by c.xid, c.no, c.key limit max;
end $$;
comment on function towpath.changes(text, integer) is
'What has changed after a place, in the order of transactions: one row per process or session, as it is now, or as it was when it was pruned (kind pruned process, pruned session; known for as long as its tombstone is kept). Nothing is lost and, since a place is exact within a transaction too, nothing comes twice; a reader that died before it kept its place sees that page again and knows its rows by their places. No rows: keep the cursor. A long writing transaction anywhere in the database holds the feed back.';

create or replace function towpath.changes_now() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select format('%s:%s:0:', s.feed_epoch, pg_snapshot_xmin(pg_current_snapshot())) from towpath.store s
$$;
comment on function towpath.changes_now() is 'The cursor that lies before every change that is yet to come: take it first, then read everything, then follow.';

create or replace function towpath.feed_restart() returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  epoch bigint;
begin
  update towpath.store s set feed_epoch = s.feed_epoch + 1 returning s.feed_epoch into epoch;
  -- Numbers of transactions that were another server's may be above all of ours for years.
  update towpath.process p set change_xid = pg_current_xact_id() where p.change_xid > pg_current_xact_id();
  update towpath.session s set change_xid = pg_current_xact_id() where s.change_xid > pg_current_xact_id();
  update towpath.tombstone g set change_xid = pg_current_xact_id() where g.change_xid > pg_current_xact_id();
  update towpath.task t set change_xid = pg_current_xact_id() where t.change_xid > pg_current_xact_id();
  return epoch;
end $$;
comment on function towpath.feed_restart() is 'After a restore: every cursor of the feed is refused from now, and the feed begins anew. Returns the new epoch.';
