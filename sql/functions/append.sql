create or replace function towpath.append(nos bigint[], fences bigint[], event_fences bigint[], types text[], data text[],
                                          applied text[] default '{}', journal_fences bigint[] default '{}',
                                          journal_first integer[] default '{}', journal_count integer[] default '{}',
                                          journal_entries bytea[] default '{}', journal_open text[] default '{}')
returns table (process_no bigint, last_seq bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t   timestamptz := towpath.now();
  hot boolean;
begin
  -- The journal of one turn is what an outside call waits for: plain statements, nothing to number, and nobody to wake.
  if cardinality(nos) = 1 and types = '{}' and applied = '{}' and journal_fences = fences then
    select p.no, p.last_seq into process_no, last_seq from towpath.process p where p.no = nos[1] for no key update;
    insert into towpath.journal (process_no, first_n, count, entries, open, fence, at)
    select l.process_no, journal_first[1], journal_count[1], journal_entries[1], journal_open[1]::jsonb, l.fence, t
    from towpath.lease l where l.process_no = nos[1] and l.fence = fences[1] and l.expires_at > t;
    if found then
      return next;
    end if;
    return;
  end if;
  -- Lock first, in order; only then look at the leases: a statement's snapshot is older than a lock it waited for.
  perform 1 from towpath.process p where p.no = any(nos) order by p.no for no key update;
  perform towpath.check_types(types);
  hot := towpath.suspect(array_to_string(append.data, ' '));
  return query
  with owned as (
    select p.no, p.id, p.last_seq, l.fence
    from (select distinct * from unnest(nos, fences)) f(no, fence)
    join towpath.process p on p.no = f.no
    join towpath.lease l on l.process_no = f.no and l.fence = f.fence and l.expires_at > t
  ), fresh as (
    select o.no, o.fence, o.last_seq + row_number() over (partition by o.no order by e.ord) as seq, e.type, e.data
    from unnest(event_fences, types, append.data) with ordinality e(fence, type, data, ord) join owned o using (fence)
  ), stored as (
    insert into towpath.event as v (process_no, seq, type, data, fence, at)
    select f.no, f.seq, f.type, case when hot then towpath.event_data(f.data) else f.data::jsonb end, f.fence, t from fresh f
  ), counted as (
    update towpath.process p set last_seq = c.last from (select f.no, max(f.seq) as last from fresh f group by f.no) c
    where p.no = c.no
  ), seen as (
    update towpath.input i set phase = 'applied', updated_at = t
    where i.id = any(applied) and i.phase in ('queued', 'staged') and i.process_no in (select o.no from owned o)
  ), kept as (
    insert into towpath.journal (process_no, first_n, count, entries, open, fence, at)
    select o.no, j.first, j.count, j.entries, j.open::jsonb, o.fence, t
    from unnest(journal_fences, journal_first, journal_count, journal_entries, journal_open) j(fence, first, count, entries, open)
    join owned o using (fence)
  ), woken as materialized (
    select towpath.wake_readers(case when sum(length(o.id) + 1) < 7900 then string_agg(o.id, ',') else '*' end)
    from owned o having count(*) > 0
  )
  select o.no, coalesce((select max(f.seq) from fresh f where f.no = o.no), o.last_seq) from owned o, woken;
  if 'usage' = any(types) then
    perform towpath.usage_record(nos, fences, event_fences, types, append.data);
  end if;
end $$;
comment on function towpath.append(bigint[], bigint[], bigint[], text[], text[], text[], bigint[], integer[], integer[], bytea[], text[]) is
'Stores the events and the journal of many turns in one transaction, and notes which inputs their guests have observed. A process whose lease is not the given fence''s any more stores nothing and is missing in the answer.';

create or replace function towpath.check_types(types text[]) returns void
language plpgsql immutable as $$
begin
  if exists (select from unnest(types) e(type) where starts_with(e.type, 'process.')
             and e.type not in ('process.in_doubt', 'process.reissued', 'process.retracted')) then
    perform towpath.fail('TW403', 'event types that begin with "process." are the database''s own',
                         'but for process.in_doubt, process.reissued and process.retracted, which a replaying owner writes');
  end if;
end $$;
comment on function towpath.check_types(text[]) is 'Refuses events of an executor that would look like the database''s own.';
