-- What a supervisor on some machine says of the programs that it runs there: records, kept by whoever runs them.
create table towpath.runtime_record (
  id              text primary key check (id <> '' and length(id) <= 200 and id !~ '[#[:cntrl:]]'),
  client_id       text not null check (client_id <> '' and length(client_id) <= 200),
  pid             integer check (pid > 0),
  status          text not null check (status in ('running', 'stopped', 'exited', 'unknown')),
  cwd             text not null,
  command         text not null check (command <> ''),
  args            text[] not null,
  env             jsonb check (jsonb_typeof(env) = 'object'),
  session         text check (session <> '' and length(session) <= 200),
  adapter_session text check (adapter_session <> '' and length(adapter_session) <= 200),
  started_at      timestamptz not null,
  stopped_at      timestamptz,
  exit_code       integer,
  exit_signal     text check (length(exit_signal) <= 50),
  metadata        jsonb check (jsonb_typeof(metadata) = 'object'),
  host            text check (host <> '' and length(host) <= 200),
  incarnation     uuid,
  version         bigint not null default 1,
  updated_at      timestamptz not null,
  constraint what_is_over_has_no_pid check (status = 'running' or pid is null),
  constraint a_host_has_an_incarnation check ((host is null) = (incarnation is null))
);
create unique index runtime_record_session on towpath.runtime_record (session) where status = 'running';
create unique index runtime_record_adapter on towpath.runtime_record (adapter_session) where status = 'running';
create index runtime_record_of_session on towpath.runtime_record (session, started_at desc) where session is not null;
create index runtime_record_of_adapter on towpath.runtime_record (adapter_session, started_at desc) where adapter_session is not null;
create index runtime_record_order on towpath.runtime_record (started_at, id);
create index runtime_record_status on towpath.runtime_record (status, started_at, id);
create index runtime_record_ended on towpath.runtime_record (updated_at, id) where status <> 'running';
comment on table towpath.runtime_record is
'Programs that supervisors run on their machines, as they say. Reclaim: runtime_delete, or prune, past the retention of processes, what is not running.';
comment on column towpath.runtime_record.host is 'The supervisor, with incarnation: one start of it. Null: nobody is answerable for it.';
comment on column towpath.runtime_record.version is 'Grows with every change.';
