-- Logins that somebody asked for: a River job takes each of them to its end.
create table towpath.login (
  id           text primary key,
  target       text not null check (target <> '' and length(target) <= 200),
  asked_at     timestamptz not null,
  expires_at   timestamptz not null check (expires_at > asked_at),
  flow         bytea check (length(flow) = 32),
  river_job_id bigint not null,
  outcome      text check (outcome in ('done', 'denied', 'expired', 'cancelled', 'failed')),
  detail       text check (length(detail) between 1 and 1000),
  ended_at     timestamptz,
  constraint ended_with_an_outcome check ((outcome is null) = (ended_at is null))
);
create unique index one_login_at_a_time on towpath.login (target) where outcome is null;
create index login_ended on towpath.login (ended_at) where outcome is not null;
comment on table towpath.login is 'Logins that were asked for, by a job of kind login each. Reclaim: sweep, a day after they have ended.';
comment on column towpath.login.flow is 'Key of its device flow in login_flow, which has the code to type in; null until the provider has given one.';
comment on column towpath.login.detail is 'What is in the way, or why it ended as it did.';
