create or replace view towpath.processes as
  select p.id, p.class, p.status, p.tenant, p.project, p.profile, p.session_id as session, p.parent_id as parent, p.attempt,
         p.attempts_spent, p.max_attempts, p.generation, p.priority, p.next_attempt_at, p.cancel_requested_at, p.cancel_reason,
         p.outcome, p.failure_kind, p.abandon_writer, p.last_seq, p.river_job_id, l.node_id as node, l.fence, l.expires_at as lease_until,
         p.created_at, p.updated_at, p.finalized_at, p.disposition, p.desired_state, p.env_id, p.originator, p.originator_session,
         p.originator_frame, p.caused_by, p.kind, p.label, p.definition, p.external_ref, p.first_started, p.abandon_request, p.wait, p.cancel_deadline
  from towpath.process p left join towpath.lease l on l.process_no = p.no;
comment on view towpath.processes is 'Every process with its lease: facts, no verdicts.';

create or replace function towpath.process(id text) returns setof towpath.processes
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query select * from towpath.processes p where p.id = process.id;
  if not found then
    perform towpath.unknown(id);
  end if;
end $$;
comment on function towpath.process(text) is 'One process as a row of towpath.processes, or an error when there is none.';

create or replace view towpath.profiles as
  select f.name, f.digest, f.manifest, f.limits, f.max_attempts, f.turn_timeout, f.enabled, f.health, f.health_detail, f.updated_at, f.health_at
  from towpath.profile f;
comment on view towpath.profiles is 'The registered backends.';

create or replace view towpath.nodes as
  select n.id, n.incarnation, n.version, n.host, n.pid, n.queues, n.started_at, n.seen_at, n.stopped_at,
         (select count(*) from towpath.lease l where l.incarnation = n.incarnation) as leases,
         n.registered_at, n.metadata
  from towpath.node n;
comment on view towpath.nodes is 'The workers, running or recently gone.';

create or replace view towpath.in_doubt as
  select p.id, p.session_id as session, p.profile, p.status, j.open as calls, j.at as since
  from towpath.process p
  join lateral (select * from towpath.journal x where x.process_no = p.no order by x.first_n desc limit 1) j on true
  left join towpath.lease l on l.process_no = p.no
  where p.finalized_at is null and j.open <> '[]' and (l.fence is distinct from j.fence or l.expires_at <= towpath.now());
comment on view towpath.in_doubt is 'Turns whose last owner had outside calls open when it was lost: whether the other side acted on them is unknown.';
