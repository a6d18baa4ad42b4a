-- Durable turns: the recorded host calls of a turn, one row a flush.

create table towpath.journal (
  process_no bigint not null,
  first_n    integer not null check (first_n >= 0),
  count      integer not null check (count > 0),
  entries    bytea not null,
  open       jsonb not null default '[]' check (jsonb_typeof(open) = 'array'),
  fence      bigint not null,
  at         timestamptz not null,
  primary key (process_no, first_n)
) with (autovacuum_vacuum_insert_scale_factor = 0.1);
-- Packed entries are mostly model output that nobody reads again: compressing them costs more than it saves.
alter table towpath.journal alter column entries set storage external;
comment on table towpath.journal is 'Recorded host calls of turns, packed; first_n numbers the first of a row. No foreign key, for speed: only append and finish write here. Reclaim: sweep, a day after its turn has ended, or with its process.';
comment on column towpath.journal.open is 'Outside calls that were open after this row: [{"handle", "method", "target"}].';
create index journal_begun on towpath.journal (at) where first_n = 0;
