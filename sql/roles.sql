-- Roles are the cluster's: made where the server lets us, taken as they are where they exist, done without where
-- a managed server refuses. The caller holds the migration lock.
do $$
declare
  r text;
  f record;
begin
  foreach r in array array['towpath_client', 'towpath_enqueue', 'towpath_operator', 'towpath_reader', 'towpath_worker'] loop
    begin
      if not exists (select 1 from pg_roles where rolname = r) then
        execute format('create role %I nologin', r);
      end if;
    exception
      when insufficient_privilege then
        raise notice 'role % cannot be created here; grants to it are left out', r;
      when duplicate_object or unique_violation then null;
    end;
  end loop;

  revoke all on all functions in schema towpath from public;
  revoke all on all tables in schema towpath from public;
  grant usage on schema towpath to public;
  grant execute on function towpath.now() to public;

  for f in
    select p.rolname as role, v.names from (values
      ('towpath_client towpath_operator towpath_worker', array['share', 'unshare', 'transfer', 'cancel_unshared', 'session_delete', 'signal', 'end_operations']),
      ('towpath_client towpath_operator towpath_worker towpath_reader', array['session_work', 'completions', 'completions_seen', 'await_all']),
      ('towpath_operator towpath_worker towpath_reader', array['work']),
      ('towpath_client towpath_operator towpath_worker towpath_reader', array['usage_summary', 'turn_usage']),
      ('towpath_operator', array['gate_put', 'budget_put']),
      ('towpath_operator towpath_worker', array['wake_session']),
      ('towpath_client towpath_operator towpath_worker', array['approve']),
      ('towpath_client towpath_operator towpath_worker', array['daemon_start', 'daemon_stop', 'daemon_stop_all', 'daemon_restart', 'daemon_check']),
      ('towpath_client towpath_operator towpath_worker towpath_reader', array['daemon_status']),
      ('towpath_operator', array['spec_put', 'spec_delete']),
      ('towpath_operator towpath_worker', array['specs']),
      ('towpath_worker', array['daemon_claim', 'daemon_port', 'daemon_child', 'daemon_exit', 'daemon_park', 'daemon_checked', 'daemon_wishes',
                               'daemon_census', 'daemon_orphans', 'daemon_adopt']),
      ('towpath_client towpath_operator towpath_worker', array['storage_create', 'storage_summary', 'storage_refresh']),
      ('towpath_operator towpath_worker', array['storage_delete', 'gc_now']),
      ('towpath_worker', array['storage_put', 'storage_measured', 'storage_due', 'storage_gone', 'storage_known', 'node_roots', 'gc_report']),
      ('towpath_client towpath_operator towpath_worker', array['task_create', 'task_attempt', 'task_cancel', 'task_dispatch', 'task_refresh']),
      ('towpath_client towpath_operator towpath_worker towpath_reader', array['task', 'task_list', 'task_changes', 'task_stats', 'task_commander', 'task_read']),
      ('towpath_worker', array['wait_signal', 'login_admit', 'login_poll', 'login_unpoll', 'login_consume', 'login_offer', 'login_release', 'runtime_reconcile',
                               'credential_put', 'credential_get', 'credential_refuse', 'credential_drop', 'login_offered', 'login_note', 'login_done', 'login_end']),
      -- Whoever logs a profile in decides with whose account everybody's turns ask.
      ('towpath_operator towpath_worker', array['login_start', 'login_cancel']),
      ('towpath_client towpath_operator towpath_worker', array['runtime_set', 'runtime_update', 'runtime_stop', 'runtime_delete']),
      ('towpath_operator', array['login_release', 'credential_drop', 'runtime_reconcile']),
      ('towpath_client towpath_operator towpath_worker towpath_reader', array['runtime_get', 'runtime_list']),
      ('towpath_client', array['submit', 'submit_many', 'steer', 'answer', 'interrupt', 'cancel', 'events', 'process',
                               'start', 'append_event', 'complete_by', 'recent', 'processes_list', 'await_output', 'cancel_shared', 'changes', 'changes_now',
                               'accept_input', 'session_put', 'session_control', 'session_list', 'session_summary', 'session_trace', 'mark_read', 'forget_reader',
                               'receipts', 'create_run', 'finish_run', 'cancel_run', 'create_command', 'cancel_command',
                               'runner_jobs', 'health', 'gauges', 'findings', 'contract']),
      ('towpath_operator', array['submit', 'submit_many', 'steer', 'answer', 'interrupt', 'cancel', 'events', 'process', 'profile_put', 'sweep', 'check', 'resolve', 'journal',
                                 'start', 'append_event', 'complete_by', 'recent', 'processes_list', 'await_output', 'cancel_all', 'cancel_shared',
                                 'request_abandon', 'resume', 'changes', 'changes_now', 'feed_restart',
                               'accept_input', 'session_put', 'session_control', 'session_list', 'session_summary', 'session_trace', 'mark_read', 'forget_reader',
                               'receipts', 'create_run', 'finish_run', 'cancel_run', 'create_command', 'cancel_command',
                               'runner_jobs', 'health', 'gauges', 'findings', 'contract',
                               'kv_get', 'kv_put', 'kv_list', 'put_snapshot', 'profile_health', 'recover', 'recover_all', 'release_quarantine', 'prune', 'retention_put']),
      ('towpath_operator towpath_worker', array['plugin_put', 'plugin_describe', 'journalled', 'plugin_remove', 'plugins', 'plugin_module', 'permits', 'plugin_lines']),
      ('towpath_operator', array['permit', 'unpinned_modules']),
      ('towpath_worker', array['plugin_note']),
      ('towpath_reader', array['events', 'process', 'recent', 'processes_list', 'await_output', 'changes', 'changes_now',
                               'session_list', 'session_summary', 'session_trace', 'mark_read', 'forget_reader', 'receipts', 'runner_jobs', 'health', 'gauges', 'findings', 'contract']),
      ('towpath_worker', array['submit', 'submit_many', 'steer', 'answer', 'interrupt', 'cancel', 'events', 'process', 'profile_put', 'sweep',
                               'claim', 'begin_claim', 'store_claim', 'append', 'finish', 'retry', 'renew', 'poll', 'kv_get', 'journal', 'emitted', 'forget', 'park', 'resolve', 'node_start', 'node_stop', 'node_lost', 'hold', 'watch', 'nudge',
                               'start', 'append_event', 'append_owned', 'complete', 'complete_by', 'claim_process', 'release', 'resume', 'drain',
                               'recent', 'processes_list', 'await_output', 'cancel_all', 'cancel_shared', 'request_abandon', 'changes', 'changes_now',
                               'accept_input', 'session_put', 'session_control', 'session_list', 'session_summary', 'session_trace', 'mark_read', 'forget_reader',
                               'receipts', 'create_run', 'finish_run', 'cancel_run', 'create_command', 'cancel_command',
                               'runner_jobs', 'health', 'gauges', 'findings', 'contract',
                               'kv_put', 'kv_list', 'put_snapshot', 'stage_inputs', 'atomic_apply', 'ack_command', 'finish_command', 'runner_job_put', 'node_describe', 'profile_health', 'usage_put',
                               'recover', 'recover_all', 'prune'])
    ) v(role, names) join pg_roles p on p.rolname = any(string_to_array(v.role, ' '))
  loop
    execute (select string_agg(format('grant execute on function %s to %I;', p.oid::regprocedure, f.role), ' ')
             from pg_proc p where p.pronamespace = 'towpath'::regnamespace and p.proname = any(f.names));
    execute format('grant select on towpath.processes, towpath.profiles, towpath.nodes, towpath.sessions, towpath.in_doubt, towpath.approvals, towpath.commands, towpath.usage_by_day, towpath.env_use, towpath.retentions, towpath.daemons to %I', f.role);
    execute format('grant select on towpath.gates to %I', f.role);
    execute format('grant select on towpath.tasks, towpath.task_heads, towpath.login_flows, towpath.logins, towpath.credentials to %I', f.role);
    execute format('grant usage on schema :river to %I', f.role);
    if f.role <> 'towpath_client' then
      execute format('grant select on :river.river_job, :river.river_queue to %I', f.role);
    end if;
  end loop;

  -- Row-level security binds everybody but the owner of River's tables.
  alter table :river.river_job enable row level security;
  if exists (select 1 from pg_roles where rolname = 'towpath_enqueue') then
    grant usage on schema :river to towpath_enqueue;
    -- Not id nor unique_key: a chosen one would stand in the way of a later job.
    grant insert (kind, args, queue, priority, max_attempts, state, scheduled_at, tags, metadata) on :river.river_job to towpath_enqueue;
    grant usage on sequence :river.river_job_id_seq to towpath_enqueue;
    drop policy if exists towpath_enqueue on :river.river_job;
    create policy towpath_enqueue on :river.river_job for insert to towpath_enqueue
      with check (kind in ('turn', 'start', 'stop', 'restart', 'health_check') and not args ? 'process_id'
                  and state in ('available', 'scheduled') and metadata = '{}');
    -- River's own client repeats the kind of the row that holds a unique key already, so as to get that row back. It is for those
    -- whom an operator has granted update (kind), and changes nothing: trigger towpath_kind.
    drop policy if exists towpath_repeat on :river.river_job;
    create policy towpath_repeat on :river.river_job for update to towpath_enqueue
      using (kind in ('turn', 'start', 'stop', 'restart', 'health_check'));
  end if;
  if exists (select 1 from pg_roles where rolname = 'towpath_worker') then
    execute (select string_agg(format('grant select, insert, update, delete on :river.%I to towpath_worker;', c.relname), ' ')
             from pg_class c where c.relnamespace = ':river'::regnamespace and c.relkind = 'r' and c.relname like 'river\_%');
    grant usage on sequence :river.river_job_id_seq to towpath_worker;
    drop policy if exists towpath_worker on :river.river_job;
    create policy towpath_worker on :river.river_job to towpath_worker using (true) with check (true);
  end if;
  drop policy if exists towpath_read on :river.river_job;
  create policy towpath_read on :river.river_job for select using (true);
end $$;
