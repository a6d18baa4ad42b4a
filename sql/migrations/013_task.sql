-- Queue tasks: what is to be done one day, by whom or when is not yet decided. A task that is dispatched becomes a run.
create sequence towpath.task_change_seq as bigint;
comment on sequence towpath.task_change_seq is 'Numbers every change of a task, drawn under the task''s row lock.';

create table towpath.task (
  id             text primary key check (id <> '' and length(id) <= 200 and id !~ '[#[:cntrl:]]'),
  no             bigint generated always as identity unique,
  tenant         text not null,
  project        text not null,
  queue          text not null check (queue ~ '^[A-Za-z0-9_.-]{1,100}$'),
  lane           text not null default 'default' check (lane ~ '^[A-Za-z0-9_.-]{1,100}$'),
  title          text check (length(title) <= 500),
  priority       integer not null default 0 check (priority between -1000000 and 1000000),
  state          text not null default 'pending',
  profile        text,
  payload        jsonb not null check (jsonb_typeof(payload) = 'object'),
  spec           jsonb not null default '{}' check (jsonb_typeof(spec) = 'object'),
  refs           jsonb not null default '[]' check (jsonb_typeof(refs) = 'array'),
  metadata       jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  key_digest     bytea,
  request_digest bytea not null,
  attempts       integer not null default 0,
  session_path   text check (length(session_path) <= 1000),
  cancel_reason  text,
  change_no      bigint not null default nextval('towpath.task_change_seq'),
  change_xid     xid8 not null default pg_current_xact_id(),
  created_at     timestamptz not null,
  updated_at     timestamptz not null,
  finalized_at   timestamptz,
  constraint lifecycle check (
    state in ('pending', 'claimed', 'running', 'waiting', 'completed', 'failed', 'blocked', 'cancelled')
    and (state in ('completed', 'failed', 'blocked', 'cancelled')) = (finalized_at is not null)
    and (state = 'cancelled') = (cancel_reason is not null))
) with (fillfactor = 80);
create unique index task_key on towpath.task (tenant, project, key_digest) where key_digest is not null;
create index task_order on towpath.task ((-priority), created_at, id);
create index task_live on towpath.task ((-priority), created_at, id) where finalized_at is null;
create index task_queue on towpath.task (queue, (-priority), created_at, id) where finalized_at is null;
create index task_owner on towpath.task (tenant, project, (-priority), created_at, id);
create index task_change on towpath.task (change_xid, no);
create index task_ended on towpath.task (finalized_at, no) where finalized_at is not null;
comment on table towpath.task is 'What is to be done one day, in queues and lanes. Reclaim: prune, terminal ones past the retention of processes.';
comment on column towpath.task.priority is 'The highest first, then the oldest. It never changes, so that pages hold still.';
comment on column towpath.task.spec is 'What its attempts are made with: provider, workspace, policy, resources.';
comment on column towpath.task.refs is 'What it refers to.';

create table towpath.task_attempt (
  task_no    bigint not null references towpath.task (no) on delete cascade,
  n          integer not null check (n >= 1),
  id         text not null check (id <> '' and length(id) <= 200),
  state      text not null,
  detail     jsonb not null check (jsonb_typeof(detail) = 'object'),
  created_at timestamptz not null,
  updated_at timestamptz not null,
  primary key (task_no, n),
  unique (task_no, id)
);
comment on table towpath.task_attempt is 'Who worked on a task; one that was dispatched has the id of its run. Reclaim: with its task.';

create table towpath.task_count (
  tenant  text not null,
  project text not null,
  queue   text not null,
  lane    text not null,
  state   text not null,
  slot    smallint not null,
  n       bigint not null,
  primary key (tenant, project, queue, lane, state, slot)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table towpath.task_count is 'How many tasks there are, so that nobody counts them. Reclaim: prune, when there are none.';
comment on column towpath.task_count.slot is 'Writers spread over slots, so that they seldom wait for each other; only the sum says something.';

alter table towpath.cursor add column task_no bigint references towpath.task (no) on delete cascade;
create index cursor_task on towpath.cursor (task_no) where task_no is not null;
