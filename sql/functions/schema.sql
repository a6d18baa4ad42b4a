create or replace function towpath.check_schema(schema jsonb, path text, depth integer default 0) returns void
language plpgsql immutable as $$
declare
  wrong text;
  k text;
  v jsonb;
begin
  if depth > 16 or octet_length(schema::text) > 65536 then
    perform towpath.fail('TW400', format('schema of %s is above 64 KiB or 16 levels', path));
  end if;
  if jsonb_typeof(schema) <> 'object' then
    perform towpath.fail('TW400', format('schema of %s is not an object', path));
  end if;
  for k, v in select * from jsonb_each(schema) loop
    wrong := case k
      when 'type' then
        case when exists (select from jsonb_array_elements_text(case jsonb_typeof(v) when 'array' then v else jsonb_build_array(v) end) e
                          where e not in ('object', 'array', 'string', 'number', 'integer', 'boolean', 'null')) then 'names an unknown type' end
      when 'enum' then case when jsonb_typeof(v) <> 'array' then 'is not an array' end
      when 'required' then towpath.misfit(v, '{"type": "array", "items": {"type": "string"}}', '')
      when 'properties' then case when jsonb_typeof(v) <> 'object' then 'is not an object' end
      when 'additionalProperties' then case when jsonb_typeof(v) not in ('object', 'boolean') then 'is not a schema or a boolean' end
      when 'items' then case when jsonb_typeof(v) <> 'object' then 'is not a schema' end
      when 'title' then null
      when 'description' then null
      else 'is not supported'
    end;
    if wrong is not null then
      perform towpath.fail('TW400', format('schema of %s: %s %s', path, left(k, 100), wrong),
        'keywords are type, enum, required, properties, additionalProperties, items, title, description');
    end if;
    if k = 'items' or k = 'additionalProperties' and jsonb_typeof(v) = 'object' then
      perform towpath.check_schema(v, path || '.' || k, depth + 1);
    elsif k = 'properties' then
      perform towpath.check_schema(e.value, path || '.' || left(e.key, 100), depth + 1) from jsonb_each(v) e;
    end if;
  end loop;
end $$;
comment on function towpath.check_schema(jsonb, text, integer) is
'Refuses a JSON schema that says more than we check: a keyword that nobody looks at would be a false promise.';

create or replace function towpath.misfit(value jsonb, schema jsonb, path text) returns text
language plpgsql immutable parallel safe as $$
declare
  kind  text := jsonb_typeof(value);
  kinds jsonb := case jsonb_typeof(schema -> 'type') when 'string' then jsonb_build_array(schema -> 'type') else schema -> 'type' end;
  wrong text;
  k     text;
  v     jsonb;
begin
  if value is null then
    return path || ' is missing';
  end if;
  if not kinds ? kind and not (kind = 'number' and kinds ? 'integer' and value::text !~ '[.][0-9]*[1-9]') then
    return format('%s is of type %s, not %s', path, kind, (select string_agg(e, ' or ') from jsonb_array_elements_text(kinds) e));
  end if;
  if schema ? 'enum' and not exists (select from jsonb_array_elements(schema -> 'enum') e where e = misfit.value) then
    return format('%s is not one of %s', path, left(schema ->> 'enum', 200));
  end if;
  if kind = 'object' then
    select e into k from jsonb_array_elements_text(schema -> 'required') e where not misfit.value ? e limit 1;
    if found then
      return format('%s.%s is missing', path, left(k, 100));
    end if;
    for k, v in select * from jsonb_each(value) loop
      if schema -> 'properties' ? k then
        wrong := towpath.misfit(v, schema -> 'properties' -> k, path || '.' || left(k, 100));
      elsif schema -> 'additionalProperties' = 'false' then
        wrong := format('%s.%s is not known', path, left(k, 100));
      elsif jsonb_typeof(schema -> 'additionalProperties') = 'object' then
        wrong := towpath.misfit(v, schema -> 'additionalProperties', path || '.' || left(k, 100));
      end if;
      if wrong is not null then
        return wrong;
      end if;
    end loop;
  elsif kind = 'array' and schema ? 'items' then
    select w into wrong from jsonb_array_elements(value) with ordinality e(item, n),
                             towpath.misfit(e.item, schema -> 'items', format('%s[%s]', path, n - 1)) w where w is not null limit 1;
    return wrong;
  end if;
  return null;
end $$;
comment on function towpath.misfit(jsonb, jsonb, text) is
'Where a value does not fit a JSON schema of the keywords type, enum, required, properties, additionalProperties and items; null when it fits.';
