-- What stands between a turn and its claim: a profile that its provider holds back, capacity over all nodes, budgets.

create table towpath.gate (
  profile    text primary key references towpath.profile (name) on delete cascade,
  account    text check (length(account) between 1 and 200),
  capacity   integer check (capacity between 1 and 1000000),
  budget     bigint check (budget > 0),
  per        text check (per in ('day', 'month')),
  used       numeric,
  used_at    timestamptz,
  held_until timestamptz,
  held_for   text,
  held_by    text,
  updated_at timestamptz not null,
  check ((budget is null) = (per is null)),
  check ((held_until is null) = (held_for is null))
);
create index gate_account on towpath.gate (account) where account is not null;
comment on table towpath.gate is 'What holds back the turns of a profile. Reclaim: an operator''s delete, of its profile too.';
comment on column towpath.gate.account is 'The account at the provider; what holds one of its profiles holds all of them.';
comment on column towpath.gate.capacity is 'Turns that run at once, over all nodes; null: no bound.';
comment on column towpath.gate.budget is 'Tokens, read and written, that turns may cost in a UTC day or month before no other begins.';
comment on column towpath.gate.used is 'What they had cost at used_at: it is summed anew when it is ten seconds old.';
comment on column towpath.gate.held_for is 'rate_limited or usage_limit, as the turn held_by was told, or operator.';

alter table towpath.session add column budget bigint;
comment on column towpath.session.budget is 'Tokens, read and written, that its turns may cost before no other begins; null: no bound.';

create index process_paused on towpath.process (no) where status = 'waiting' and wait ->> 'kind' = 'budget';
