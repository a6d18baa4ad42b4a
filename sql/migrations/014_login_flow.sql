-- Logins that have begun and are not yet through: a browser that was sent to a provider, or a device code that is polled.
create table towpath.login_flow (
  kind         text not null check (kind in ('browser', 'device')),
  key          bytea not null check (length(key) = 32),
  target       text not null check (target <> '' and length(target) <= 200),
  provider     text not null check (provider <> '' and length(provider) <= 200),
  redirect_uri text check (length(redirect_uri) <= 2000),
  secret       bytea check (get_byte(secret, 0) = 1 and length(secret) between 33 and 65536),
  created_at   timestamptz not null,
  expires_at   timestamptz not null check (expires_at > created_at),
  poller       text,
  poll_until   timestamptz,
  spent_at     timestamptz,
  primary key (kind, key),
  constraint a_browser_comes_back check ((kind = 'browser') = (redirect_uri is not null)),
  constraint one_poller check ((poller is null) = (poll_until is null)),
  constraint spent_is_empty check ((spent_at is null) = (secret is not null))
);
create index login_flow_expiry on towpath.login_flow (expires_at);
comment on table towpath.login_flow is 'Logins under way, their secrets encrypted by the worker with a key that is not here. Reclaim: sweep, when they expire.';
comment on column towpath.login_flow.key is 'HMAC of the state or device code: neither is stored.';
comment on column towpath.login_flow.secret is 'PKCE verifier, device code and the like: version 1, key id, nonce, AES-256-GCM. Gone once it is spent.';
comment on column towpath.login_flow.spent_at is 'When it was consumed or released. The row stays until it would have expired, so that nobody admits it again.';
