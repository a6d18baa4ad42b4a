create or replace function towpath.check() returns table (rule text, subject text, detail text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with live as (
    select p.*, row_number() over (partition by p.session_id order by p.turn_no) as place
    from towpath.process p where p.finalized_at is null
  ), log as (
    select e.process_no, count(*) as n, min(e.seq) as first, max(e.seq) as last,
           count(*) filter (where e.type in ('process.completed', 'process.failed', 'process.cancelled', 'process.abandoned')) as ends
    from towpath.event e group by e.process_no
  )
  select 'the log has no gap', coalesce(p.id, 'number ' || l.process_no), format('%s events from %s to %s, counter %s', l.n, l.first, l.last, p.last_seq)
  from log l full join towpath.process p on p.no = l.process_no
  where p.no is null or l.n is null and p.last_seq <> 0 or (l.first, l.n, l.last) is distinct from (1, p.last_seq, p.last_seq) and l.n is not null
  union all
  select 'a process ends with one event, the last', p.id, format('status %s, %s terminal events, last is %s', p.status, l.ends, e.type)
  from towpath.process p join log l on l.process_no = p.no join towpath.event e on e.process_no = p.no and e.seq = p.last_seq
  where case when p.finalized_at is null then l.ends <> 0 else l.ends <> 1 or e.type <> 'process.' || p.status end
  union all
  select 'a session''s head is its first live turn', s.id, format('head %s, first live turn %s', s.active_process, h.id)
  from towpath.session s left join live h on h.session_id = s.id and h.turn_no is not null and h.place = 1
  where s.active_process is distinct from h.id
  union all
  select 'only the head has a River job', p.id, format('job %s, place %s in its session', p.river_job_id, p.place)
  from live p where p.turn_no is not null and p.place > 1 and p.river_job_id is not null
  union all
  select 'a queued head has a River job that will run it', p.id, format('job %s is %s with args %s', p.river_job_id, coalesce(j.state::text, 'gone'), j.args)
  from live p left join :river.river_job j on j.id = p.river_job_id
  where p.turn_no is not null and p.place = 1 and p.status in ('queued', 'backoff')
    and (j.id is null or j.finalized_at is not null
         or j.args ? 'process_id' and (j.args ->> 'process_id', j.args ->> 'generation') is distinct from (p.id, p.generation::text))
  union all
  select 'one River job stands for a process', p.id, format('jobs %s', array_agg(j.id))
  from live p join :river.river_job j on j.args @> jsonb_build_object('process_id', p.id) and j.finalized_at is null
  group by p.id having count(*) > 1
  union all
  select 'who runs has a lease', p.id, 'status running, no lease'
  from live p where p.status = 'running' and p.disposition <> 'externally_owned' and p.class <> 'run' and not exists (select 1 from towpath.lease l where l.process_no = p.no)
  union all
  select 'a lease goes with the newest attempt of a running process', p.id,
         format('status %s, attempt %s, lease fence %s, attempt fence %s ended %s', p.status, p.attempt, l.fence, a.fence, a.ended_at)
  from towpath.lease l join towpath.process p on p.no = l.process_no
  left join towpath.attempt a on a.process_no = p.no and a.attempt = p.attempt
  where p.status <> 'running' or a.fence is distinct from l.fence or a.ended_at is not null
  union all
  select 'an open attempt has a lease', p.id, format('attempt %s', a.attempt)
  from towpath.attempt a join towpath.process p on p.no = a.process_no
  where a.ended_at is null and not exists (select 1 from towpath.lease l where l.process_no = p.no and l.fence = a.fence)
  union all
  select 'attempts are numbered without a gap', p.id, format('%s attempts, counter %s', count(a.attempt), p.attempt)
  from towpath.process p left join towpath.attempt a on a.process_no = p.no
  group by p.id, p.attempt having count(a.attempt) <> p.attempt
  union all
  select 'a child is of a daemon that runs, or that waits for its machine', p.id, format('status %s, wait %s, pid %s', p.status, p.wait, c.pid)
  from towpath.child c join towpath.process p on p.no = c.process_no
  where p.class <> 'daemon' or p.status <> 'running' and (p.status <> 'waiting' or p.wait ->> 'kind' <> 'machine')
  union all
  select 'a daemon is one live process', p.definition, format('%s live, newest start %s', count(*), max(d.process_id))
  from live p left join towpath.daemon d on d.name = p.definition where p.class = 'daemon' and p.definition is not null
  group by p.definition having count(*) > 1 or max(d.process_id) is distinct from max(p.id)
  union all
  select 'inputs end with their process', p.id, format('process %s, input %s is %s', p.status, i.id, i.phase)
  from towpath.input i join towpath.process p on p.no = i.process_no
  where p.finalized_at is not null and i.finalized_at is null or i.phase = 'staged' and p.status <> 'running'
  union all
  select 'a profile is its newest plugin', f.name, format('digest %s, plugin %s, module %s', f.digest, v.digest, m.digest)
  from towpath.profile f join towpath.plugin v on v.profile = f.name and v.superseded_at is null left join towpath.module m on m.digest = v.digest
  where f.digest is distinct from m.digest and f.removed_at is null
  union all
  select 'a session counts its turns and inputs', s.id, format('next turn %s, next input %s', s.next_turn, s.next_input)
  from towpath.session s
  where s.next_turn <= (select max(p.turn_no) from towpath.process p where p.session_id = s.id)
     or s.next_input <= (select max(i.seq) from towpath.input i where i.session_id = s.id)
  union all
  select 'the newest receipt names the snapshot', s.id,
         format('session version %s digest %s, receipt version %s digest %s', s.version, encode(s.digest, 'hex'), r.session_version, encode(r.digest, 'hex'))
  from towpath.session s
  join lateral (select * from towpath.receipt x where x.session_id = s.id order by x.session_version desc limit 1) r on true
  where r.session_version > s.version or r.session_version = s.version and r.digest <> coalesce(s.digest, '')
  union all
  select 'a run counts its commands', r.id, format('%s commands to %s, counter %s', count(i.id), max(i.run_seq), r.commands)
  from towpath.process r left join towpath.input i on i.run_no = r.no
  where r.class = 'run' group by r.id having (count(i.id), coalesce(max(i.run_seq), 0)) <> (r.commands, r.commands)
  union all
  select 'a run ends with its commands and turns', r.id, format('run %s, live %s', r.status, coalesce(i.id, p.id))
  from towpath.process r left join towpath.input i on i.run_no = r.no and i.finalized_at is null
  left join live p on p.parent_id = r.id and p.class = 'turn'
  where r.class = 'run' and r.finalized_at is not null and coalesce(i.id, p.id) is not null
  union all
  select 'who closed has nothing open', s.id, format('session %s, input %s is %s', s.runtime_state, i.id, i.phase)
  from towpath.session s join towpath.input i on i.session_id = s.id and i.finalized_at is null
  left join towpath.process p on p.no = i.process_no
  where s.runtime_state in ('stopped', 'destroyed') and p.cancel_requested_at is null and s.quarantine is null
  union all
  select 'sessions are sound', s.id, d.wrong
  from towpath.session s cross join lateral (select towpath.damage(s.id) as wrong) d where s.quarantine is null and d.wrong is not null
  union all
  select 'no reader is ahead of his session', c.reader, format('session %s is at %s, the reader at %s', s.id, s.change_no, c.position)
  from towpath.cursor c join towpath.session s on s.id = c.session_id
  where c.position > case when starts_with(c.stream, 'completions:') then s.completions else s.change_no end
  union all
  select 'no key is newer than its snapshot', s.id, format('session version %s, key %s version %s', s.version, kv.key, kv.version)
  from towpath.session_kv kv join towpath.session s on s.id = kv.session_id where kv.version > s.version
  union all
  select 'the journal has no gap', coalesce(p.id, 'number ' || j.process_no), format('row %s begins at %s, expected %s', j.first_n, j.first_n, j.expected)
  from (select x.*, coalesce(lag(x.first_n + x.count) over (partition by x.process_no order by x.first_n), 0) as expected from towpath.journal x) j
  left join towpath.process p on p.no = j.process_no
  where p.no is null or j.first_n <> j.expected
  union all
  select 'a session''s storage is where its row says', s.id, format('session %s, row from %s to %s', s.storage, x.evicting_at, x.evicted_at)
  from towpath.session s left join towpath.storage x on x.session_id = s.id
  where s.storage <> case when x.session_id is null then 'none' when x.evicting_at is null then 'provisioned' when x.evicted_at is null then 'evicting' else 'evicted' end
  union all
  select 'what was pruned is gone', g.id, format('process %s is %s', p.no, p.status)
  from towpath.tombstone g join towpath.process p on p.id = g.id or p.no = g.no where g.kind = 'process'
  union all
  select 'a parent is there as long as its child', p.id, format('parent %s was pruned at %s', g.id, g.pruned_at)
  from towpath.process p join towpath.tombstone g on g.kind = 'process' and g.id = p.parent_id
  union all
  select 'signals are numbered and are events of their name', p.id, format('signal %s number %s is event %s of type %s', g.name, g.ordinal, g.seq, e.type)
  from (select x.*, row_number() over (partition by x.process_no, x.name order by x.seq) as place from towpath.signal x) g
  join towpath.process p on p.no = g.process_no left join towpath.event e on e.process_no = g.process_no and e.seq = g.seq
  where g.ordinal <> g.place or e.type is distinct from 'signal.' || g.name
  union all
  select 'completions are numbered', s.id, format('%s completions to %s, counter %s', count(c.seq), max(c.seq), s.completions)
  from towpath.session s left join towpath.completion c on c.session_id = s.id and c.seq is not null
  group by s.id having coalesce(max(c.seq), 0) > s.completions
  union all
  select 'who has ended and wakes a session has told it', p.id, format('session %s', w.session_id)
  from towpath.process p join towpath.wake_target w on w.process_no = p.no
  where p.finalized_at is not null and not exists (select 1 from towpath.completion c where c.process_no = p.no)
  union all
  select 'each response that was told is in the ledger', p.id, format('event %s, response %s', e.seq, e.data ->> 'response_id')
  from towpath.event e join towpath.process p on p.no = e.process_no
  where e.type = 'usage' and e.fence is not null and p.session_id is not null and e.data ->> 'response_id' <> ''
    and e.at > towpath.now() - towpath.keep('usage', p.tenant, p.profile)
    and not exists (select 1 from towpath.usage u where u.process_no = p.no and u.response_id = left(e.data ->> 'response_id', 500))
  union all
  select 'tasks are counted', format('%s %s %s %s %s', tenant, project, queue, lane, state), format('%s tasks, counted %s', coalesce(t.n, 0), coalesce(c.n, 0))
  from (select x.tenant, x.project, x.queue, x.lane, x.state, count(*) as n from towpath.task x group by 1, 2, 3, 4, 5) t
  full join (select x.tenant, x.project, x.queue, x.lane, x.state, sum(x.n) as n from towpath.task_count x group by 1, 2, 3, 4, 5) c
    using (tenant, project, queue, lane, state)
  where coalesce(t.n, 0) <> coalesce(c.n, 0)
  union all
  select 'a task counts its attempts', t.id, format('%s attempts to %s, counter %s', count(a.n), max(a.n), t.attempts)
  from towpath.task t left join towpath.task_attempt a on a.task_no = t.no
  group by t.id, t.attempts having (count(a.n), coalesce(max(a.n), 0)) <> (t.attempts, t.attempts)
  union all
  select 'a login that has ended has no flow', l.id, l.outcome
  from towpath.login l join towpath.login_flow f on f.kind = 'device' and f.key = l.flow where l.outcome is not null and f.spent_at is null
  union all
  select 'a row is what its log adds up to', p.id, r from towpath.process p, towpath.refold(p.no) r
$$;
comment on function towpath.check() is
'Rules between tables that are broken, one row each: none in a sound database. Reads everything: for an operator, a test, or after a restore.';
