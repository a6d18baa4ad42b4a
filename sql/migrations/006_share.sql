-- A share belongs to the session of its scope, and goes with it.
alter table towpath.share
  add column session_id text references towpath.session (id) on delete cascade,
  add column from_scope text;
update towpath.share h set session_id = s.id from towpath.session s
where starts_with(h.scope, 'session:') and s.id = split_part(substr(h.scope, 9), '/frame:', 1);
delete from towpath.share where starts_with(scope, 'session:') and session_id is null;
alter table towpath.share add constraint session_of_scope check (session_id is not distinct from
  case when starts_with(scope, 'session:') then split_part(substr(scope, 9), '/frame:', 1) end);
create index share_of_session on towpath.share (session_id) where session_id is not null;
comment on column towpath.share.session_id is 'The session that the scope is of; null for a host.';
comment on column towpath.share.from_scope is 'The scope that it was transferred from, when it was.';

create table towpath.wake_target (
  process_no bigint primary key references towpath.process (no) on delete cascade,
  session_id text not null references towpath.session (id) on delete cascade,
  at         timestamptz not null
);
create index wake_target_session on towpath.wake_target (session_id);
comment on table towpath.wake_target is 'Which session is told of a process''s end. Reclaim: with its process, or its session.';
