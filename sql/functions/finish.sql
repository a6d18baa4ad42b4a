create or replace function towpath.owned(process_no bigint, fence bigint) returns towpath.process
language plpgsql volatile as $$
declare
  p towpath.process;
begin
  select * into p from towpath.process x where x.no = owned.process_no;
  if found then
    p := towpath.locked(p.id);
    if exists (select 1 from towpath.lease l where l.process_no = p.no and l.fence = owned.fence and l.expires_at > towpath.now()) then
      return p;
    end if;
  end if;
  perform towpath.fail('TW40L', format('fence %s does not own process %s', fence, coalesce(p.id, process_no::text)),
                       'another worker has taken over, or the lease lapsed');
end $$;
comment on function towpath.owned(bigint, bigint) is 'Locks a process for its owner, or refuses a stale fence.';

create or replace function towpath.finish(process_no bigint, fence bigint, status text, outcome jsonb, failure_kind text default null,
                                          types text[] default '{}', data text[] default '{}', applied text[] default '{}',
                                          keys text[] default '{}', vals bytea[] default '{}', base_version bigint default null,
                                          journal_first integer default null, journal_count integer default null,
                                          journal_entries bytea default null)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan as $$
declare
  p    towpath.process := towpath.owned(process_no, fence);
  s    towpath.session;
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
  if journal_first is null then
    perform towpath.append(array[process_no], array[fence], array_fill(fence, array[cardinality(types)]), types, data, applied);
  else
    perform towpath.append(array[process_no], array[fence], array_fill(fence, array[cardinality(types)]), types, data, applied,
                           array[fence], array[journal_first], array[journal_count], array[journal_entries], array['[]']);
  end if;
  if base_version is not null then
    s := towpath.apply_delta(p.session_id, base_version, keys, vals);
    select coalesce(array_agg(i.id order by i.seq), '{}') into took from towpath.input i
    where i.process_no = p.no and (i.kind = 'turn' or i.phase = 'applied') and i.finalized_at is null and i.boundary_seq is null;
    perform towpath.put_receipt(p.no, 'run_end', towpath.next_receipt(p.no), s, took, fence);
  end if;
  perform towpath.finalize(p.no, status, outcome, failure_kind, case when status = 'abandoned' then 'owner_drain' end, fence);
end $$;
comment on function towpath.finish(bigint, bigint, text, jsonb, text, text[], text[], text[], text[], bytea[], bigint, integer, integer, bytea) is
'Ends a turn in one transaction: last events, receipt, session snapshot (when base_version is given, by compare-and-swap), terminal event, inputs, lease, River job, next turn of the session.';
