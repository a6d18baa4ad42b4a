-- Storage of sessions: a directory that lives as long as its session wants it.

alter table towpath.session add column storage text not null default 'none' check (storage in ('none', 'provisioned', 'evicting', 'evicted'));
comment on column towpath.session.storage is 'What became of its storage; forward only. Its row in towpath.storage says where it is.';

create table towpath.storage (
  session_id   text primary key references towpath.session (id) on delete cascade,
  kind         text not null check (kind in ('dir', 'pvc')),
  root         text not null check (root <> ''),
  shared       boolean not null,
  name         text not null check (name <> ''),
  quota        bigint check (quota > 0),
  expires_at   timestamptz,
  bytes        bigint check (bytes >= 0),
  files        bigint check (files >= 0),
  sha256       bytea check (length(sha256) = 32),
  refreshed_at timestamptz,
  reason       text,
  trouble      text,
  created_at   timestamptz not null,
  evicting_at  timestamptz,
  evicted_at   timestamptz,
  unique (root, name),
  check (evicted_at is null or evicting_at is not null)
);
create index storage_leaving on towpath.storage (root) where evicting_at is not null and evicted_at is null;
comment on table towpath.storage is
'Where the files of a session are, and what is known of them. Reclaim: with its session; the files are gc''s, past retention or when they are to go.';
comment on column towpath.storage.root is 'The id that lies in the root, not its path: the same on every node that sees these files.';
comment on column towpath.storage.shared is 'Whether every node may reach the root: else the session''s turns run only where it is.';
comment on column towpath.storage.expires_at is 'When it is to go; null: by retention, counted from the session''s last change.';
comment on column towpath.storage.trouble is 'Why the last try to remove it failed.';

alter table towpath.node add column roots text[] not null default '{}';
comment on column towpath.node.roots is 'Storage roots that the node has.';

-- share.session_id says it since.
drop index towpath.share_session;
