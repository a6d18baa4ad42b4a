create or replace function towpath.sweep(ttl interval default '30 seconds') returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  t timestamptz := towpath.now();
  c record;
  p towpath.process;
begin
  -- After an outage owners come first: their leases lapsed with the server, not with them.
  if t - pg_postmaster_start_time() < ttl then
    return null;
  end if;
  for c in
    select x.id, x.session_id, x.no from towpath.lease l join towpath.process x on x.no = l.process_no where l.expires_at <= t
    union all
    select x.id, x.session_id, x.no from towpath.process x
    where x.status in ('queued', 'backoff') and x.river_job_id is not null and x.finalized_at is null
      and coalesce(x.next_attempt_at, x.updated_at) < t - ttl
      and not exists (select 1 from :river.river_job j where j.id = x.river_job_id and j.state not in ('cancelled', 'completed', 'discarded'))
  loop
    -- Somebody who holds the locks is at work on it; the next sweep sees the result.
    perform 1 from towpath.session s where s.id = c.session_id for no key update skip locked;
    continue when not found and c.session_id is not null;
    select * into p from towpath.process x where x.no = c.no for no key update skip locked;
    continue when not found or p.finalized_at is not null;
    if exists (select 1 from towpath.lease l where l.process_no = p.no and l.expires_at > t) then
      continue;
    end if;
    if p.cancel_requested_at is not null and p.disposition = 'rerunnable' then
      perform towpath.finalize(p.no, 'cancelled', jsonb_build_object('reason', p.cancel_reason));
    elsif p.disposition = 'externally_owned' or p.disposition = 'owner_bound' and p.first_started is not null then
      continue when p.abandon_request is null;
      perform towpath.finalize(p.no, 'abandoned', p.abandon_request, null, 'reconciled_request');
    elsif p.attempts_spent >= p.max_attempts then
      perform towpath.finalize(p.no, 'abandoned',
        jsonb_build_object('reason', format('%s attempts did not end it', p.attempts_spent)), null, 'engine_gave_up');
    elsif p.status = 'running' then
      perform towpath.requeue(p.no, 'lease lapsed', '0', false);
    else
      perform towpath.enqueue(p.id, p.next_attempt_at);
    end if;
    return p.id;
  end loop;
  delete from towpath.journal j using (
    select o.process_no from towpath.journal o join towpath.process x on x.no = o.process_no
    where o.first_n = 0 and o.at < t - interval '1 day' and x.finalized_at is not null limit 500) old
  where j.process_no = old.process_no;
  delete from towpath.node n where n.seen_at < t - interval '1 day'
    and not exists (select 1 from towpath.lease l where l.incarnation = n.incarnation);
  return null;
end $$;
comment on function towpath.sweep(interval) is
'Repairs one process and returns its id, or null when there is none: a lapsed lease is requeued or ended by disposition, a queued process whose River job is gone gets a new one. Call it until it returns null.';
