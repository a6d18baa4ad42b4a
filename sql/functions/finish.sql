create or replace function towpath.owned(process_no bigint, fence bigint) returns towpath.process
language plpgsql volatile as $$
declare
  p towpath.process := towpath.lock((select x.id from towpath.process x where x.no = owned.process_no));
begin
  perform towpath.check_fence(p, process_no, fence);
  return p;
end $$;
comment on function towpath.owned(bigint, bigint) is 'Locks a process for its owner, or refuses a stale fence.';

create or replace function towpath.check_fence(p towpath.process, process_no bigint, fence bigint) returns void
language plpgsql as $$
begin
  if not exists (select 1 from towpath.lease l where l.process_no = p.no and l.fence = check_fence.fence and l.expires_at > towpath.now()) then
    perform towpath.fail('TW40L', format('fence %s does not own process %s', fence, coalesce(p.id, process_no::text)),
                         'another worker has taken over, or the lease lapsed');
  end if;
end $$;
comment on function towpath.check_fence(towpath.process, bigint, bigint) is 'Refuses a fence that does not own a locked process.';

create or replace function towpath.finish(process_no bigint, fence bigint, status text, outcome jsonb, failure_kind text default null,
                                          types text[] default '{}', data text[] default '{}', applied text[] default '{}',
                                          keys text[] default '{}', vals bytea[] default '{}', base_version bigint default null,
                                          journal_first integer default null, journal_count integer default null,
                                          journal_entries bytea default null)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  t    timestamptz := towpath.now();
  p    towpath.process := towpath.owned(process_no, fence);
  s    towpath.session;
  said integer := coalesce(cardinality(types), 0);
  hot  boolean := said > 0 and towpath.suspect(array_to_string(data, ' '));
  took text[];
begin
  if status is null or status not in ('completed', 'failed', 'cancelled', 'abandoned') then
    perform towpath.fail('TW400', format('"%s" is not a terminal status', coalesce(status, '')));
  end if;
  if outcome is null or jsonb_typeof(outcome) <> 'object' then
    perform towpath.fail('TW400', 'outcome is not a JSON object');
  end if;
  if (status = 'failed') <> (failure_kind is not null) then
    perform towpath.fail('TW400', 'a failure kind goes with status failed, and only with it');
  end if;
  if p.class <> 'turn' then
    perform towpath.fail('TW409', format('process "%s" is no turn', p.id), 'towpath.complete ends it');
  end if;
  -- What append does for many, for one that is locked already: finalize counts the events with its own.
  if said > 0 then
    perform towpath.check_types(types);
    insert into towpath.event (process_no, seq, type, data, fence, at)
    select p.no, p.last_seq + e.ord, e.type, case when hot then towpath.event_data(e.data) else e.data::jsonb end, finish.fence, t
    from unnest(types, finish.data) with ordinality e(type, data, ord);
    if 'usage' = any(types) then
      perform towpath.usage_record(array[p.no], array[finish.fence], array_fill(finish.fence, array[said]), types, finish.data);
    end if;
  end if;
  if cardinality(applied) > 0 then
    update towpath.input i set phase = 'applied', updated_at = t
    where i.id = any(applied) and i.phase in ('queued', 'staged') and i.process_no = p.no;
  end if;
  if journal_first is not null then
    insert into towpath.journal (process_no, first_n, count, entries, fence, at)
    values (p.no, journal_first, journal_count, journal_entries, finish.fence, t);
  end if;
  if base_version is not null then
    s := towpath.store_delta(p.session_id, base_version, keys, vals);
    select coalesce(array_agg(i.id order by i.seq), '{}') into took from towpath.input i
    where i.process_no = p.no and (i.phase = 'applied' or i.phase in ('queued', 'staged') and i.kind = 'turn') and i.boundary_seq is null;
    perform towpath.put_receipt(p.no, 'run_end', towpath.next_receipt(p.no), s, took, fence);
  end if;
  perform towpath.finalize(p.no, status, outcome, failure_kind, case when status = 'abandoned' then 'owner_drain' end, fence, p_said => said, p_moved => s);
end $$;
comment on function towpath.finish(bigint, bigint, text, jsonb, text, text[], text[], text[], text[], bytea[], bigint, integer, integer, bytea) is
'Ends a turn in one transaction: last events, receipt, session snapshot (when base_version is given, by compare-and-swap), terminal event, inputs, lease, River job, next turn of the session.';
