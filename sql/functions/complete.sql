create or replace function towpath.complete(process_no bigint, fence bigint, status text, outcome jsonb, key text, failure_kind text default null)
returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p     towpath.process;
  named bytea := towpath.digest(key);
begin
  perform towpath.check_end(status, outcome, failure_kind, key);
  p := towpath.locked((select x.id from towpath.process x where x.no = complete.process_no));
  if towpath.ended_alike(p, status, outcome, failure_kind, named) then
    return p.status;
  end if;
  perform towpath.check_fence(p, process_no, fence);
  if p.class = 'turn' then
    perform towpath.fail('TW409', format('process "%s" is a turn', p.id), 'towpath.finish ends turns, with their session');
  end if;
  perform towpath.finalize(p.no, status, outcome, failure_kind, case when status = 'abandoned' then 'owner_drain' end, fence,
                           named, 'lease');
  return status;
end $$;
comment on function towpath.complete(bigint, bigint, text, jsonb, text, text) is
'The executor ends its process: end, event and lease together. The same key and end again give the same answer, another end an error. failure_kind goes with failed.';

create or replace function towpath.complete_by(authority text, process_id text, status text, outcome jsonb, key text,
                                               failure_kind text default null, workflow_key text default null) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
declare
  p      towpath.process;
  named  bytea := towpath.digest(key);
  denied text;
begin
  perform towpath.check_end(status, outcome, failure_kind, key);
  p := towpath.locked(process_id);
  if towpath.ended_alike(p, status, outcome, failure_kind, named) then
    return p.status;
  end if;
  case
  when authority = 'external_owner' then
    denied := case when p.disposition <> 'externally_owned' then 'the process is not externally owned'
                   when status = 'abandoned' then 'an owner knows how its process ended' end;
  when authority = 'workflow_key' then
    denied := case when p.class not in ('operation', 'daemon') then 'the process is not executed under a workflow'
                   when status = 'abandoned' then 'a workflow knows how its process ended'
                   when p.key_digest is null or p.key_digest is distinct from towpath.digest(workflow_key) then 'the process was not started with this workflow_key'
                   when exists (select from towpath.lease l where l.process_no = p.no and l.expires_at > towpath.now()) then 'somebody is executing it' end;
  when authority = 'reconciled_abandon' then
    denied := case when p.disposition <> 'externally_owned' then 'the process is not externally owned'
                   when status <> 'abandoned' then 'it can only abandon'
                   when p.abandon_request is null then 'nobody asked to abandon it' end;
  else
    perform towpath.fail('TW400', format('authority "%s" is not external_owner, workflow_key or reconciled_abandon', coalesce(authority, '')));
  end case;
  if denied is not null then
    perform towpath.fail('TW403', format('process "%s" cannot be ended by %s: %s', p.id, authority, denied), 'its executor ends it with towpath.complete');
  end if;
  perform towpath.finalize(p.no, status, outcome, failure_kind, case when status = 'abandoned' then 'reconciled_request' end, null,
                           named, authority);
  return status;
end $$;
comment on function towpath.complete_by(text, text, text, jsonb, text, text, text) is
'Ends a process without its lease, by authority: external_owner (whoever runs an external process), workflow_key (who knows the idempotency key that the process was started with, while nobody executes it) or reconciled_abandon (an external process that somebody asked to abandon). The authority is stored with the end.';

create or replace function towpath.check_end(status text, outcome jsonb, failure_kind text, key text) returns void
language plpgsql immutable as $$
begin
  if status is null or status not in ('completed', 'failed', 'cancelled', 'abandoned') then
    perform towpath.fail('TW400', format('"%s" is not a terminal status', coalesce(left(status, 100), '')), 'completed, failed, cancelled or abandoned');
  end if;
  if outcome is null or jsonb_typeof(outcome) <> 'object' then
    perform towpath.fail('TW400', 'outcome is not a JSON object');
  end if;
  if octet_length(outcome::text) > 1048576 then
    perform towpath.fail('TW413', format('outcome has %s bytes, the limit is 1048576', octet_length(outcome::text)));
  end if;
  if (status = 'failed') <> (failure_kind is not null) or failure_kind = '' or length(failure_kind) > 200 then
    perform towpath.fail('TW400', 'a failure kind goes with status failed, and only with it');
  end if;
  if key is null then
    perform towpath.fail('TW400', 'key is missing', 'any text that names this end, so that it can be reported again');
  end if;
  perform towpath.check_key(key);
end $$;
comment on function towpath.check_end(text, jsonb, text, text) is 'Refuses an end that says too little or too much.';

create or replace function towpath.ended_alike(p towpath.process, status text, outcome jsonb, failure_kind text, named bytea) returns boolean
language plpgsql stable as $$
declare
  e towpath.event;
begin
  select * into e from towpath.event x where x.process_no = p.no and x.replay_key = named;
  if p.finalized_at is null then
    if e.seq is not null then
      perform towpath.fail('TW40I', format('key was used for another event of process "%s"', p.id), format('event %s has it', e.seq));
    end if;
    return false;
  end if;
  if e.seq is distinct from p.last_seq then
    perform towpath.fail('TW409', format('process "%s" is %s already', p.id, p.status));
  end if;
  if p.status <> ended_alike.status or p.failure_kind is distinct from ended_alike.failure_kind
     or towpath.digest(p.outcome) is distinct from towpath.digest(towpath.event_data(ended_alike.outcome::text)) then
    perform towpath.fail('TW40I', format('key was used for another end of process "%s"', p.id), format('it is %s', p.status));
  end if;
  return true;
end $$;
comment on function towpath.ended_alike(towpath.process, text, jsonb, text, bytea) is
'Whether a locked process has ended exactly so, under the key with this digest; another end is an error.';
