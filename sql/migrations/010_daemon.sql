-- Daemons: registered specs by name, and the children that may be alive.

create table towpath.daemon (
  name       text primary key check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  spec       jsonb not null check (jsonb_typeof(spec) = 'object'),
  process_id text,
  restart_of integer,
  check_at   timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
comment on table towpath.daemon is 'What an operator allows to be kept running, by name. Reclaim: an operator''s delete, with spec_delete.';
comment on column towpath.daemon.process_id is 'The process of its newest start; prune may have taken it.';
comment on column towpath.daemon.restart_of is 'The attempt that somebody wants replaced by a new one.';
comment on column towpath.daemon.check_at is 'When somebody last asked for its health, outside the rounds of its node.';

create table towpath.child (
  process_no bigint primary key references towpath.process (no) on delete cascade,
  machine    text not null,
  boot       text not null,
  outlives   boolean not null,
  port       integer check (port between 1 and 65535),
  pid        integer check (pid > 0),
  pid_start  bigint,
  started_at timestamptz,
  ready_at   timestamptz,
  health     text not null default 'unknown' check (health in ('unknown', 'healthy', 'unhealthy')),
  detail     text,
  checked_at timestamptz,
  constraint child_is_recorded check ((pid is null) = (started_at is null) and (pid is null) = (pid_start is null))
) with (fillfactor = 70);
create unique index child_port on towpath.child (machine, port) where port is not null;
create index child_machine on towpath.child (machine) where outlives;
comment on table towpath.child is
'The operating-system process of a daemon: a row exists from before it is started until its end is known, and keeps its port from others on the machine. Reclaim: daemon_exit, an operator''s resume, the end of its process.';
comment on column towpath.child.boot is 'The machine''s run, and the space of process numbers in it: the same pid in another is a stranger.';
comment on column towpath.child.outlives is 'It may live on when its worker dies, so that nobody elsewhere may start another.';
comment on column towpath.child.pid_start is 'When the machine started that pid, in its own ticks: tells a reused number.';

alter table towpath.attempt
  add column exit_code   integer,
  add column exit_signal text;
comment on column towpath.attempt.exit_code is 'How a daemon''s child ended, as far as it is known; null with exit_signal for a kill signal.';

create index process_daemon on towpath.process (session_id, no) where class = 'daemon' and finalized_at is null;

insert into towpath.daemon (name, spec, created_at, updated_at)
select v.name, v.spec::jsonb, clock_timestamp(), clock_timestamp() from (values
  ('codex-app-server', '{"command": "codex", "args": ["app-server", "--listen", "ws://127.0.0.1:{port}"], "health_url": "/readyz", "port": 8765}'),
  ('codex-app-server-stdio', '{"command": "codex", "args": ["app-server"], "outlives": false}'),
  ('llama-server', '{"command": "llama-server", "health_url": "/health", "port_flag": "--port", "port": 8080, "ready_s": 600}'),
  ('ollama', '{"command": "ollama", "args": ["serve"], "health_url": "/api/version", "port": 11434, "port_fixed": true}')
) v(name, spec);
