-- Signals of a process, numbered by name: the Nth of a name answers the Nth wait for it.
create table towpath.signal (
  process_no bigint not null references towpath.process (no) on delete cascade,
  name       text not null check (name ~ '^[A-Za-z0-9_-]{1,93}$'),
  ordinal    integer not null check (ordinal >= 1),
  seq        bigint not null,
  primary key (process_no, name, ordinal),
  unique (process_no, seq)
);
comment on table towpath.signal is 'Which event is the Nth signal of a name. Reclaim: with its process.';
comment on column towpath.signal.seq is 'The event that holds what it says.';
