-- Retention: how long what has ended is kept, and what is left of it afterwards.

create table towpath.retention (
  tenant     text not null default '' check (length(tenant) <= 200),
  profile    text not null default '' check (length(profile) <= 200),
  processes  interval check (processes >= '1 minute'),
  sessions   interval check (sessions >= '1 minute'),
  tombstones interval check (tombstones >= '0'),
  usage      interval check (usage >= '1 day'),
  storage    interval check (storage >= '1 minute'),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, profile)
);
comment on table towpath.retention is
'How long things are kept, per tenant and profile; an empty one stands for all. Reclaim: an operator''s delete.';
comment on column towpath.retention.processes is 'From the end of a process. Null: as the next wider row says.';
comment on column towpath.retention.sessions is 'From the last change of a session that has no process left.';
comment on column towpath.retention.tombstones is 'From the prune: how long a pruned id is refused and told from an unknown one.';
comment on column towpath.retention.usage is 'From the response; then only its day''s sum is kept.';
comment on column towpath.retention.storage is 'From the last use of a session''s storage.';
insert into towpath.retention (processes, sessions, tombstones, usage, storage) values ('30 days', '90 days', '30 days', '400 days', '30 days');

create table towpath.tombstone (
  kind         text not null check (kind in ('process', 'session')),
  id           text not null,
  no           bigint,
  status       text not null,
  tenant       text not null,
  project      text not null,
  profile      text,
  session_id   text,
  key_digest   bytea,
  last_seq     bigint,
  finalized_at timestamptz,
  pruned_at    timestamptz not null,
  change_xid   xid8 not null default pg_current_xact_id(),
  primary key (kind, id)
);
create index tombstone_key on towpath.tombstone (tenant, project, key_digest) where key_digest is not null;
create index tombstone_process on towpath.tombstone (change_xid, no) where kind = 'process';
create index tombstone_session on towpath.tombstone (change_xid, id) where kind = 'session';
create index tombstone_age on towpath.tombstone (pruned_at, id);
comment on table towpath.tombstone is 'What was pruned: its id and idempotency key are not given to anything else. Reclaim: prune, past retention.';
comment on column towpath.tombstone.status is 'How the process had ended; of a session, its runtime state.';

create table towpath.usage_day (
  day              date not null,
  tenant           text not null,
  project          text not null,
  profile          text not null,
  model            text not null,
  responses        bigint not null,
  unknown          bigint not null,
  input_tokens     numeric,
  cached_tokens    numeric,
  output_tokens    numeric,
  reasoning_tokens numeric,
  primary key (day, tenant, project, profile, model)
);
comment on table towpath.usage_day is
'What responses cost whose own rows are past retention, summed by UTC day. Reclaim: never; one row a day, tenant, project, profile and model.';
comment on column towpath.usage_day.model is 'Empty where the response named none.';

-- Deleting a session looks for all its processes, also those that are no turns. Nulls are distinct, so it is as unique as before.
drop index towpath.process_turn;
create unique index process_turn on towpath.process (session_id, turn_no);

create index share_session on towpath.share (split_part(substr(scope, 9), '/frame:', 1)) where scope like 'session:%';
comment on table towpath.share is 'Which scopes may address a process, by exact scope. Rights, not history. Reclaim: with its process.';
