create or replace function towpath.record_daemon(process_no bigint, status text, code integer default null, signal text default null) returns void
language plpgsql as $$
declare
  t timestamptz := towpath.now();
begin
  if status = 'running' then
    insert into towpath.runtime_record as r (id, client_id, pid, status, cwd, command, args, started_at, metadata, host, incarnation, updated_at)
    select p.id, p.definition, c.pid, 'running', coalesce(p.spec ->> 'dir', ''), p.spec ->> 'command',
           array(select jsonb_array_elements_text(towpath.redact(p.spec -> 'args'))), c.started_at,
           jsonb_strip_nulls(jsonb_build_object('session', p.session_id, 'machine', c.machine, 'port', c.port, 'attempt', p.attempt, 'ready', c.ready_at is not null)),
           left(l.node_id, 200), l.incarnation, t
    from towpath.process p join towpath.child c on c.process_no = p.no join towpath.lease l on l.process_no = p.no
    where p.no = record_daemon.process_no and c.pid is not null
    on conflict on constraint runtime_record_pkey do update set pid = excluded.pid, status = excluded.status, cwd = excluded.cwd, command = excluded.command,
      args = excluded.args, started_at = excluded.started_at, stopped_at = null, exit_code = null, exit_signal = null, metadata = excluded.metadata,
      host = excluded.host, incarnation = excluded.incarnation, version = r.version + 1, updated_at = t;
  else
    update towpath.runtime_record r set status = record_daemon.status, pid = null, stopped_at = case when record_daemon.status <> 'unknown' then t end,
      exit_code = record_daemon.code, exit_signal = record_daemon.signal, metadata = r.metadata || '{"ready": false}', version = r.version + 1, updated_at = t
    from towpath.process p where p.no = record_daemon.process_no and r.id = p.id
      and (r.status = 'running' or r.status = 'unknown' and record_daemon.status <> 'unknown');
  end if;
end $$;
comment on function towpath.record_daemon(bigint, text, integer, text) is
'Keeps the runtime record of a daemon, whose id is its process''s: running with its child, exited or stopped with the end, unknown when its worker is gone.';
