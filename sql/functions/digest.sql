create or replace function towpath.canonical(value jsonb) returns text
language plpgsql immutable parallel safe as $$
begin
  case jsonb_typeof(value)
  when 'object' then
    if value = '{}' then
      return '{}';
    end if;
    -- Most values are strings: no call for those.
    return '{' || coalesce((select string_agg(to_json(key)::text || ':' || case when jsonb_typeof(e.value) = 'string' then e.value::text else towpath.canonical(e.value) end, ',' order by key collate "C")
                            from jsonb_each(canonical.value) e), '') || '}';
  when 'array' then
    return '[' || coalesce((select string_agg(towpath.canonical(e.value), ',' order by ord)
                            from jsonb_array_elements(canonical.value) with ordinality e(value, ord)), '') || ']';
  when 'number' then
    return trim_scale(value::numeric)::text;
  else
    return value::text;
  end case;
end $$;
comment on function towpath.canonical(jsonb) is 'One text per JSON value: keys sorted bytewise, numbers without trailing zeros.';

create or replace function towpath.digest(value text) returns bytea
language plpgsql stable parallel safe as $$
begin
  return (select sha256(substring(s.digest_key from 33) || sha256(substring(s.digest_key for 32) || convert_to(value, 'UTF8')))
          from towpath.store s);
end $$;
comment on function towpath.digest(text) is 'Keyed SHA-256 of a text: tells equal requests without telling what they say.';

create or replace function towpath.digest(value jsonb) returns bytea
language plpgsql stable as $$
begin
  return towpath.digest(towpath.canonical(value));
exception when statement_too_complex then
  perform towpath.fail('TW413', 'content is nested too deeply', 'some hundred levels of objects and arrays are the limit');
end $$;
comment on function towpath.digest(jsonb) is 'Keyed SHA-256 of a JSON value: equal values have equal digests, however they are written.';
