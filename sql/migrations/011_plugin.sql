create table towpath.module (
  digest   text primary key check (digest ~ '^[0-9a-f]{64}$'),
  bytes    bytea not null check (octet_length(bytes) between 8 and 16777216),
  added_at timestamptz not null
);
alter table towpath.module alter column bytes set storage external;
comment on table towpath.module is
'Plugins'' files by their SHA-256, from which every node takes them. Reclaim: prune, what towpath.unpinned_modules lists.';

create table towpath.plugin (
  profile       text not null references towpath.profile (name) on delete cascade,
  digest        text not null check (digest ~ '^[0-9a-f]{64}$'),
  manifest      jsonb not null check (jsonb_typeof(manifest) = 'object'),
  added_by      text not null check (added_by <> ''),
  added_at      timestamptz not null,
  superseded_at timestamptz,
  primary key (profile, digest)
);
create unique index plugin_present on towpath.plugin (profile) where superseded_at is null;
create index plugin_digest on towpath.plugin (digest);
comment on table towpath.plugin is
'Every module that a profile has ever been, the present one without superseded_at: what was superseded is not taken again unasked. Reclaim: with its profile.';

create table towpath.permit (
  profile    text primary key check (profile ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
  body       text not null check (octet_length(body) <= 262144),
  changed_by text not null,
  changed_at timestamptz not null
);
comment on table towpath.permit is
'What an operator permits a profile on every node that has no permit file of its own for it, in the form of that file. Reclaim: an operator''s, by permit(profile, null).';

create table towpath.plugin_log (
  id      bigint generated always as identity primary key,
  profile text not null,
  node    text not null,
  level   text not null check (level in ('info', 'warn', 'error')),
  line    text not null check (octet_length(line) <= 8192),
  at      timestamptz not null
);
create index plugin_log_profile on towpath.plugin_log (profile, id);
comment on table towpath.plugin_log is
'What became of profiles on each node, and the warnings of their guests. Reclaim: its own writer, all but the last 500 lines of a profile.';

alter table towpath.profile
  add column removed_at timestamptz,
  add column removed_by text,
  add constraint profile_removed check ((removed_at is null) = (removed_by is null) and (removed_at is null or not enabled));
comment on column towpath.profile.removed_at is 'Since when nobody serves it: its file was removed, or `worker plugin rm`.';
