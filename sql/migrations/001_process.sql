-- The process model: what a turn needs, with the keys that later parts keep.
-- Time-ordered ids, plain tables. Rows that are written often leave room for HOT updates.

create sequence towpath.fence_seq as bigint;
comment on sequence towpath.fence_seq is 'Fences of leases: one sequence for all processes, drawn under the process''s row lock, never restarted.';

-- Postgres prepares every CHECK of a table again for each UPDATE, whatever it changes: thirty of them made an update of
-- one counter five times dearer. So what concerns one column is a domain, checked where the column is set; what never
-- changes is checked at INSERT by a trigger; and what is left is one CHECK.
create domain towpath.object as jsonb check (jsonb_typeof(value) = 'object');
comment on domain towpath.object is 'A JSON object.';
create domain towpath.process_class as text check (value in ('turn', 'daemon', 'external', 'run', 'operation'));
comment on domain towpath.process_class is 'What a process is.';
create domain towpath.disposition as text check (value in ('rerunnable', 'owner_bound', 'externally_owned'));
comment on domain towpath.disposition is 'Who may execute a process again.';
create domain towpath.desired_state as text check (value in ('once', 'up', 'down'));
comment on domain towpath.desired_state is 'Run to an end, be kept up, or be kept down.';
create domain towpath.abandon_writer as text check (value in ('owner_drain', 'sweep', 'reconciled_request', 'engine_gave_up'));
comment on domain towpath.abandon_writer is 'Who decided that nobody knows how a process ended.';
create domain towpath.attempt_budget as integer check (value between 1 and 1000);
comment on domain towpath.attempt_budget is 'How often a process may be tried.';
create domain towpath.priority as smallint check (value between 1 and 4);
comment on domain towpath.priority is 'River''s: 1 runs first.';

create table towpath.store (
  one        boolean primary key default true check (one),
  id         uuid not null default gen_random_uuid(),
  digest_key bytea not null check (length(digest_key) = 64),
  feed_epoch bigint not null default 1,
  created_at timestamptz not null default clock_timestamp()
);
comment on table towpath.store is 'One row: this database''s identity, the key of its digests, the epoch of its change feed. Reclaim: never.';
insert into towpath.store (digest_key)
select decode(string_agg(replace(gen_random_uuid()::text, '-', ''), ''), 'hex') from generate_series(1, 4);

create table towpath.clock (
  one   boolean primary key default true check (one),
  shift interval not null
);
comment on table towpath.clock is 'Moves towpath.now() in tests; empty in production, writable by the owner alone. Reclaim: never.';

create table towpath.node (
  id          text primary key check (id <> ''),
  incarnation uuid not null,
  version     text not null,
  host        text not null,
  pid         integer not null,
  queues      text[] not null,
  started_at  timestamptz not null,
  seen_at     timestamptz not null,
  stopped_at  timestamptz,
  lock_key    bigint
);
comment on column towpath.node.lock_key is 'Advisory lock that the node holds for as long as it lives; null for one behind a pooler.';
comment on table towpath.node is 'Workers by name; an incarnation is one start of one. Reclaim: sweep, a day after seen_at, when it holds no lease.';

create table towpath.profile (
  name          text primary key check (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  digest        text not null,
  manifest      jsonb not null default '{}' check (jsonb_typeof(manifest) = 'object'),
  limits        jsonb not null default '{}' check (jsonb_typeof(limits) = 'object'),
  max_attempts  integer not null default 3 check (max_attempts between 1 and 1000),
  turn_timeout  interval not null default '10 minutes' check (turn_timeout > '0'),
  enabled       boolean not null default true,
  health        text not null default 'unknown' check (health in ('unknown', 'healthy', 'unhealthy')),
  health_detail text,
  registered_by text,
  registered_at timestamptz not null,
  updated_at    timestamptz not null
);
comment on table towpath.profile is 'Backends by name, as the nodes registered them. Reclaim: an operator''s delete.';

create table towpath.session (
  id             text primary key check (id <> '' and length(id) <= 200 and id !~ '[#[:cntrl:]]'),
  tenant         text not null,
  project        text not null,
  profile        text not null,
  version        bigint not null default 0,
  digest         bytea,
  runtime_state  text not null default 'idle'
                 check (runtime_state in ('initializing', 'idle', 'running', 'retired', 'stopped', 'destroyed')),
  active_process text,
  next_turn      bigint not null default 1,
  next_input     bigint not null default 1,
  quarantine     text,
  change_xid     xid8 not null default pg_current_xact_id(),
  created_at     timestamptz not null,
  updated_at     timestamptz not null
) with (fillfactor = 80);
create index session_created on towpath.session (created_at, id);
create index session_change on towpath.session (change_xid, id);
comment on table towpath.session is 'A conversation, bound for life to a tenant, a project and a profile. Reclaim: prune, when it has no process and is past retention.';
comment on column towpath.session.version is 'Snapshot version, moved by compare-and-swap when a boundary is applied.';
comment on column towpath.session.digest is 'Chained SHA-256 over the deltas: names the snapshot in O(changed keys).';
comment on column towpath.session.active_process is 'The head of its turns: the only one with a River job.';

create table towpath.session_kv (
  session_id text not null references towpath.session (id) on delete cascade,
  key        text not null check (octet_length(key) between 1 and 512),
  value      bytea not null check (octet_length(value) <= 1048576),
  version    bigint not null,
  primary key (session_id, key)
);
comment on table towpath.session_kv is 'The session snapshot, key by key; version is the session version that wrote the key. Reclaim: with its session.';

create table towpath.process (
  id                  text primary key,
  no                  bigint generated always as identity unique,
  class               towpath.process_class not null,
  disposition         towpath.disposition not null,
  desired_state       towpath.desired_state not null default 'once',
  tenant              text not null,
  project             text not null,
  profile             text,
  session_id          text references towpath.session (id),
  turn_no             bigint,
  parent_id           text,
  spec                towpath.object not null default '{}',
  request_digest      bytea not null,
  key_digest          bytea,
  status              text not null default 'queued',
  generation          integer not null default 0,
  river_job_id        bigint,
  priority            towpath.priority not null default 2,
  attempt             integer not null default 0,
  attempts_spent      integer not null default 0,
  max_attempts        towpath.attempt_budget not null,
  next_attempt_at     timestamptz,
  deadline_at         timestamptz,
  first_started       jsonb,
  cancel_requested_at timestamptz,
  cancel_reason       text,
  cancel_deadline     timestamptz,
  abandon_request     jsonb,
  wait                jsonb,
  outcome             jsonb,
  failure_kind        text,
  abandon_writer      towpath.abandon_writer,
  last_seq            bigint not null default 0,
  change_xid          xid8 not null default pg_current_xact_id(),
  created_at          timestamptz not null,
  updated_at          timestamptz not null,
  finalized_at        timestamptz,
  constraint lifecycle check (
    status in ('queued', 'running', 'waiting', 'backoff', 'completed', 'failed', 'cancelled', 'abandoned')
    and (status in ('completed', 'failed', 'cancelled', 'abandoned')) = (finalized_at is not null)
    and (finalized_at is null) = (outcome is null)
    and (status = 'abandoned') = (abandon_writer is not null)
    and (status = 'failed') = (failure_kind is not null)
    and (status = 'waiting') = (wait is not null)
    and (status = 'backoff') = (next_attempt_at is not null)
    and (cancel_requested_at is null) = (cancel_reason is null)
    and (cancel_requested_at is null) = (cancel_deadline is null)
    and attempts_spent between 0 and attempt
    and (river_job_id is null or generation > 0))
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
create unique index process_key on towpath.process (tenant, project, key_digest) where key_digest is not null;
create unique index process_turn on towpath.process (session_id, turn_no) where turn_no is not null;
create index process_live on towpath.process (created_at, id) where finalized_at is null;
create index process_final on towpath.process (finalized_at, no) where finalized_at is not null;
create index process_created on towpath.process (created_at, id);
create index process_queue on towpath.process (session_id, turn_no) where finalized_at is null;
create index process_parent on towpath.process (parent_id) where parent_id is not null;
create index process_change on towpath.process (change_xid, no);
comment on constraint lifecycle on towpath.process is 'Terminal means ended, with an outcome and nothing pending; a state has what belongs to it.';
comment on table towpath.process is 'Everything that runs. Reclaim: prune, terminal rows past retention, leaving a tombstone.';
comment on column towpath.process.no is 'Short key of the rows that belong to it: events, attempts, receipts.';
comment on column towpath.process.generation is 'Counts queueings; a River job of an older generation does nothing.';
comment on column towpath.process.attempt is 'Number of the newest attempt; attempts_spent is what of the budget is gone (a drained attempt gives its share back).';
comment on column towpath.process.key_digest is 'Digest of the idempotency key, one process per tenant, project and key.';
comment on column towpath.process.last_seq is 'Sequence of the newest event: the counter that makes the log gapless.';

create table towpath.lease (
  process_no  bigint primary key references towpath.process (no) on delete cascade,
  node_id     text not null,
  incarnation uuid not null,
  fence       bigint not null unique,
  claimed_at  timestamptz not null,
  expires_at  timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
create index lease_owner on towpath.lease (incarnation);
comment on table towpath.lease is 'Who may execute a process now; a row exists only while somebody does. Reclaim: release, finish or sweep.';
comment on column towpath.lease.fence is 'The number that every write of this owner carries.';

create table towpath.attempt (
  process_no    bigint not null references towpath.process (no) on delete cascade,
  attempt       integer not null,
  node_id       text not null,
  incarnation   uuid not null,
  fence         bigint not null,
  river_job_id  bigint,
  first_seq     bigint not null,
  started_at    timestamptz not null,
  ended_at      timestamptz,
  end_reason    text,
  primary key (process_no, attempt),
  check ((ended_at is null) = (end_reason is null))
);
create unique index attempt_open on towpath.attempt (process_no) where ended_at is null;
comment on table towpath.attempt is 'One execution of a process on one node. Reclaim: with its process.';
comment on column towpath.attempt.first_seq is 'Sequence of the attempt''s own first event: what comes after it was said by this attempt.';

create table towpath.event (
  process_no bigint not null,
  seq        bigint not null check (seq >= 1),
  type       text not null,
  data       jsonb not null check (jsonb_typeof(data) = 'object'),
  fence      bigint,
  replay_key bytea,
  at         timestamptz not null,
  primary key (process_no, seq)
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
create unique index event_replay on towpath.event (process_no, replay_key) where replay_key is not null;
comment on table towpath.event is 'Append-only log of a process; seq from 1 without gaps. No foreign key, for speed: only append and finish write here. Reclaim: with its process.';
comment on column towpath.event.fence is 'Fence of the executor that wrote it; null for what SQL itself wrote.';
comment on column towpath.event.replay_key is 'Digest of the writer''s key: the same key and payload is the same event.';

create table towpath.input (
  id           text primary key,
  session_id   text not null references towpath.session (id) on delete cascade,
  seq          bigint not null,
  process_no   bigint not null references towpath.process (no) on delete cascade,
  kind         text not null check (kind in ('turn', 'steer', 'interrupt', 'answer')),
  phase        text not null check (phase in ('queued', 'staged', 'applied', 'consumed', 'superseded', 'coalesced', 'rejected', 'abandoned')),
  reason       text,
  payload      jsonb not null check (jsonb_typeof(payload) = 'object'),
  digest       bytea not null,
  key_digest   bytea,
  attempts     integer not null default 0,
  created_at   timestamptz not null,
  updated_at   timestamptz not null,
  finalized_at timestamptz,
  unique (session_id, seq),
  constraint terminal_is_final check ((phase in ('consumed', 'superseded', 'coalesced', 'rejected', 'abandoned')) = (finalized_at is not null))
) with (fillfactor = 80);
create unique index input_key on towpath.input (session_id, key_digest) where key_digest is not null;
create index input_process on towpath.input (process_no, seq);
comment on table towpath.input is 'Work addressed to a session: durable before it is acknowledged. Reclaim: with its process.';

create table towpath.receipt (
  process_no      bigint not null references towpath.process (no) on delete cascade,
  seq             integer not null,
  session_id      text not null,
  session_version bigint not null,
  input_ids       text[] not null,
  digest          bytea not null,
  fence           bigint not null,
  at              timestamptz not null,
  primary key (process_no, seq),
  unique (session_id, session_version)
);
comment on table towpath.receipt is 'Proof that a boundary was applied: snapshot and inputs changed together, once. Reclaim: with its process.';
