create or replace view towpath.daemons as
  select d.name,
         case when p.id is null then 'stopped'
              when p.status = 'cancelled' then 'stopped'
              when p.status = 'completed' then 'exited'
              when p.status = 'abandoned' then 'unknown'
              when p.status = 'failed' then 'failed'
              when p.status = 'waiting' then 'unknown'
              when p.cancel_requested_at is not null then 'stopping'
              when p.status = 'running' and d.restart_of = p.attempt then 'restarting'
              when p.status = 'running' then case when c.ready_at is null then 'starting' else 'running' end
              when p.attempt = 0 then 'starting'
              else 'restarting' end as state,
         p.id as process, p.session_id as session, c.health, c.detail, c.pid, c.port, l.node_id as node, c.machine, c.started_at, c.ready_at, c.checked_at,
         greatest(p.attempts_spent - (p.status = 'running')::int, 0) as restarts, p.max_attempts - 1 as max_restarts, p.attempt, p.next_attempt_at,
         a.exit_code, a.exit_signal, a.end_reason as last_end, p.failure_kind, p.outcome, p.river_job_id, p.created_at, p.finalized_at
  from towpath.daemon d
  left join towpath.process p on p.id = d.process_id
  left join towpath.lease l on l.process_no = p.no
  left join towpath.child c on c.process_no = p.no
  left join lateral (select * from towpath.attempt x where x.process_no = p.no and x.ended_at is not null order by x.attempt desc limit 1) a on true;
comment on view towpath.daemons is
'Every registered daemon. state: starting, running, stopping, stopped, restarting (waits for next_attempt_at, or is being replaced), failed, exited (ended as it should), unknown (its worker is gone: it may be running on machine). exit_code, exit_signal and last_end are of the attempt that ended last.';

create or replace function towpath.daemon_status(name text default null) returns setof towpath.daemons
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select * from towpath.daemons v where daemon_status.name is null or v.name = daemon_status.name order by v.name;
  if not found and name is not null then
    perform towpath.fail('TW404', format('unknown daemon "%s"', left(name, 100)), 'towpath.daemons lists them; `worker daemon status` too');
  end if;
end $$;
comment on function towpath.daemon_status(text) is 'One daemon, or all by name, as rows of towpath.daemons; an error when there is none of that name.';
