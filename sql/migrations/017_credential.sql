-- What a login ended with, and what the person who logs in has to see on the way.
create table towpath.credential (
  target     text not null check (target <> '' and length(target) <= 200),
  provider   text not null check (provider <> '' and length(provider) <= 200),
  secret     bytea not null check (get_byte(secret, 0) = 1 and length(secret) between 33 and 65536),
  expires_at timestamptz,
  created_at timestamptz not null,
  renewed_at timestamptz not null,
  refused    text check (refused <> '' and length(refused) <= 1000),
  primary key (target, provider)
);
comment on table towpath.credential is 'Tokens of logins, encrypted by the worker with a key that is not here. Reclaim: an operator''s credential_drop.';
comment on column towpath.credential.target is 'What it is for: a profile.';
comment on column towpath.credential.secret is 'Access and refresh token: version 1, key id, nonce, AES-256-GCM.';
comment on column towpath.credential.expires_at is 'When the access token ends; a node renews it before.';
comment on column towpath.credential.refused is 'Why the provider renews it no more: log in again.';

alter table towpath.login_flow add column verification_url text check (length(verification_url) between 1 and 2000),
  add column user_code text check (length(user_code) between 1 and 100);
alter table towpath.login_flow add constraint offered_whole check ((verification_url is null) = (user_code is null));
comment on column towpath.login_flow.user_code is 'What the person types in at verification_url. It opens nothing by itself: the device code does, which is not here.';
