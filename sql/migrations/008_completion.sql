-- Ends that a session is told of: every process with a wake target leaves one, in the transaction of its end.
create table towpath.completion (
  process_no bigint primary key references towpath.process (no) on delete cascade,
  session_id text not null,
  seq        bigint check (seq >= 1),
  wakes      boolean not null,
  turn_id    text,
  at         timestamptz not null,
  unique (session_id, seq)
);
create index completion_new on towpath.completion (session_id) where seq is null;
create index completion_unwoken on towpath.completion (session_id, at) where wakes and turn_id is null;
comment on table towpath.completion is 'The end of a process, for the session that it wakes. No foreign key to that: whoever ends a process has not locked it. Reclaim: with its process, or session_delete.';
comment on column towpath.completion.seq is 'Its number in the session, from 1 without gaps, given under the session''s lock when somebody first looks.';
comment on column towpath.completion.wakes is 'False for a member: it is listed and wakes nobody.';
comment on column towpath.completion.turn_id is 'The turn that the session was woken with.';

alter table towpath.session add column completions bigint not null default 0;
comment on column towpath.session.completions is 'Number of the newest completion: the counter that makes their sequence gapless.';
