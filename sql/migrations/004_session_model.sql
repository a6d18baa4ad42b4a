-- Sessions beyond single turns: inputs with policy and boundaries, runs and commands, readers, usage.

create sequence towpath.session_change_seq as bigint;
comment on sequence towpath.session_change_seq is 'Numbers every visible change of a session, drawn under the session''s row lock.';

alter table towpath.session
  add column change_no    bigint not null default nextval('towpath.session_change_seq'),
  add column title        text check (length(title) <= 500),
  add column metadata     jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  add column last_process text,
  add column last_status  text,
  add column last_failure text;
-- That a turn runs is a fact about its lease, and is not stored a second time.
alter table towpath.session drop constraint session_runtime_state_check,
  add constraint session_runtime_state_check check (runtime_state in ('idle', 'retired', 'stopped', 'destroyed'));
create index session_owner on towpath.session (tenant, project, created_at, id);
comment on column towpath.session.change_no is 'Grows with every visible change: what a reader''s position is compared with.';
comment on column towpath.session.last_process is 'The turn that ended last, with last_status and last_failure.';

alter table towpath.process add column commands integer not null default 0;
comment on column towpath.process.commands is 'Number of the newest command of a run: the counter that makes their sequence gapless.';
create index process_run on towpath.process (session_id, no) where class = 'run';

alter table towpath.input
  alter column process_no drop not null,
  add column lane           text not null default 'queue' check (lane in ('steer', 'queue')),
  add column topic          text not null default 'prompt'
             check (topic in ('prompt', 'message', 'request', 'progress', 'response', 'step', 'event', 'continuation', 'operation')),
  add column source         text not null default 'operator' check (source in ('operator', 'peer', 'flow', 'system', 'external')),
  add column durability     text not null default 'durable' check (durability in ('durable', 'ephemeral', 'derived')),
  add column policy         jsonb not null default '{}' check (jsonb_typeof(policy) = 'object'),
  add column scope_digest   bytea,
  add column correlation_id text check (length(correlation_id) <= 200),
  add column outcome_ref    text,
  add column boundary_seq   integer,
  add column run_no         bigint references towpath.process (no) on delete cascade,
  add column run_seq        integer,
  add column content_bytes  integer,
  add column payload_sha    bytea,
  add column history        jsonb not null default '[]' check (jsonb_typeof(history) = 'array'),
  add constraint command_has_place check ((run_no is null) = (run_seq is null)),
  add constraint boundary_is_applied check (boundary_seq is null or process_no is not null and phase in ('applied', 'consumed')),
  add constraint who_waits_has_no_process check (process_no is not null or phase not in ('staged', 'applied'));
create unique index input_run on towpath.input (run_no, run_seq) where run_no is not null;
create index input_live on towpath.input (session_id, seq) where finalized_at is null;
create index input_scope on towpath.input (session_id, scope_digest) where scope_digest is not null and phase = 'queued';
comment on table towpath.input is
'Work addressed to a session: durable before it is acknowledged. Reclaim: with its process; without one, with its session.';
comment on column towpath.input.process_no is 'The process that takes it; null while it waits for the session''s next turn.';
comment on column towpath.input.policy is 'What was decided about it when it was accepted, with the version of the rules: {"version", "apply", "consume", "coalesce"}.';
comment on column towpath.input.scope_digest is 'Digest of topic and scope: a newer input of one scope takes the place of one that still waits.';
comment on column towpath.input.outcome_ref is 'The input that superseded it or into which it was folded.';
comment on column towpath.input.boundary_seq is 'The receipt of its process that names it: from then on it never goes back to the queue.';
comment on column towpath.input.run_seq is 'Place among the commands of run run_no.';
comment on column towpath.input.content_bytes is 'Size of the payload where that is kept in input_content; null where it is in the row.';
comment on column towpath.input.payload_sha is 'SHA-256 of the payload: what recovery compares.';
comment on column towpath.input.history is 'Its changes of phase: [{"at", "from", "to", "reason"}].';

create table towpath.input_content (
  input_id text primary key,
  body     jsonb not null check (jsonb_typeof(body) = 'object'),
  constraint input_content_of foreign key (input_id) references towpath.input (id) on delete cascade deferrable initially deferred
);
comment on table towpath.input_content is 'Payloads above 64 KiB, so that lists of inputs stay small. Reclaim: with its input.';

alter table towpath.receipt add column boundary text not null default 'run_end' check (boundary in ('run_start', 'checkpoint', 'run_end'));
comment on column towpath.receipt.input_ids is 'The inputs that the boundary took in, in order of acceptance.';

create table towpath.cursor (
  reader     text not null check (reader <> '' and length(reader) <= 200),
  stream     text not null check (stream <> '' and length(stream) <= 250),
  position   bigint not null check (position >= 0),
  session_id text references towpath.session (id) on delete cascade,
  updated_at timestamptz not null,
  primary key (reader, stream)
);
create index cursor_session on towpath.cursor (session_id) where session_id is not null;
comment on table towpath.cursor is 'How far a reader has read a stream; it never moves back. Reclaim: with its session, or forget_reader.';

create table towpath.runner_job (
  id         text primary key,
  run_no     bigint not null references towpath.process (no) on delete cascade,
  seq        integer not null,
  key_digest bytea not null,
  digest     bytea not null,
  spec       jsonb not null check (jsonb_typeof(spec) = 'object'),
  created_at timestamptz not null,
  unique (run_no, seq),
  unique (run_no, key_digest)
);
comment on table towpath.runner_job is 'What was started outside to work on a run, for example a Kubernetes job. Reclaim: with its run.';

alter table towpath.node
  add column registered_at timestamptz not null default clock_timestamp(),
  add column metadata      jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object');
comment on column towpath.node.registered_at is 'When a node of this name was first seen; a new incarnation keeps it.';

alter table towpath.profile add column health_at timestamptz;

create table towpath.usage (
  process_no       bigint not null,
  response_id      text not null check (response_id <> '' and length(response_id) <= 500),
  session_id       text not null,
  tenant           text not null,
  project          text not null,
  profile          text not null,
  model            text check (length(model) <= 500),
  input_tokens     bigint check (input_tokens >= 0),
  cached_tokens    bigint check (cached_tokens >= 0),
  output_tokens    bigint check (output_tokens >= 0),
  reasoning_tokens bigint check (reasoning_tokens >= 0),
  fence            bigint not null,
  at               timestamptz not null,
  primary key (process_no, response_id)
);
create index usage_session on towpath.usage (session_id, at);
create index usage_time on towpath.usage (at, profile);
comment on table towpath.usage is
'What each response of a model cost, one row a response. No foreign key: it outlives its process. Reclaim: prune, by at, under a retention of its own.';
comment on column towpath.usage.input_tokens is 'Cached ones included; null is unknown, which is not 0. So with the other counts.';
