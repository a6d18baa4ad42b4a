-- Processes of every class: what a general start records, who may address a process, and what its log may hold.

create table towpath.env (
  id         text primary key check (id ~ '^env:sha256:[0-9a-f]{64}$'),
  body       jsonb not null check (jsonb_typeof(body) = 'object'),
  created_at timestamptz not null
);
comment on table towpath.env is 'Execution environments by content. Reclaim: prune, when no process names it; towpath.env_use counts.';
comment on column towpath.env.id is 'SHA-256 of the canonical body.';

create domain towpath.origin as text check (value ~ '^(host|session:.)');
comment on domain towpath.origin is 'Scope that started a process.';

alter table towpath.process
  add column env_id             text references towpath.env (id),
  add column originator         towpath.origin not null default 'host',
  add column originator_session text,
  add column originator_frame   text,
  add column caused_by          towpath.object,
  add column kind               text,
  add column label              text,
  add column definition         text,
  add column external_ref       text;
comment on column towpath.process.env_id is 'What an operation is executed in, by content.';
comment on column towpath.process.originator is 'Scope that started it: host, host:name, session:id or session:id/frame:id. History, gives no rights, never changes.';
comment on column towpath.process.caused_by is 'What made its originator start it: {"occurrence", "subscription"}.';
comment on column towpath.process.kind is 'For people and filters, as label is: never for authorization.';
comment on column towpath.process.external_ref is 'Name of an external process at its owner; written once.';
create index process_originated on towpath.process (originator_session, created_at, id) where originator_session is not null;
create index process_env on towpath.process (env_id, definition) where env_id is not null;
create index process_owner on towpath.process ((first_started ->> 'incarnation')) where finalized_at is null and disposition = 'owner_bound';

create table towpath.event_type (
  process_no bigint not null references towpath.process (no) on delete cascade,
  name       text not null check (name ~ '^[A-Za-z0-9_.-]{1,100}$' and not starts_with(name, 'process.')),
  schema     jsonb not null check (jsonb_typeof(schema) = 'object'),
  primary key (process_no, name)
);
comment on table towpath.event_type is 'Events that a process declared at its start, each with its JSON schema. Reclaim: with its process.';

create table towpath.share (
  scope      text not null check (scope ~ '^(host|session:.)' and length(scope) <= 500 and scope !~ '[[:cntrl:]]'),
  process_no bigint not null references towpath.process (no) on delete cascade,
  descriptor jsonb not null default '{}' check (jsonb_typeof(descriptor) = 'object'),
  at         timestamptz not null,
  primary key (scope, process_no)
);
create index share_process on towpath.share (process_no);
comment on table towpath.share is 'Which scopes may address a process, by exact scope. Rights, not history. Reclaim: with its process, or its scope''s session.';
