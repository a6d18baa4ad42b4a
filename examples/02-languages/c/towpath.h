// The Towpath ABI turn_v1 for C, in one header without a library behind it: include it once.
//
//   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--export-dynamic -o yours.wasm yours.c
//
// A plugin defines PLUGIN_MANIFEST, a JSON text, before the include, and int turn(void), which ends with done() or failed().
// Memory: tp_alloc hands out memory that is never given back, as an instance runs one turn.
#ifndef TOWPATH_H
#define TOWPATH_H

typedef unsigned char tp_byte;
typedef __SIZE_TYPE__ tp_size;
typedef struct { const char *p; tp_size n; } tp_text; // p is 0 for what is not there

#define TP_IMPORT(name) __attribute__((import_module("turn_v1"), import_name(#name)))
#define TP_EXPORT(name) __attribute__((export_name(#name)))
TP_IMPORT(take) int tp_take(void *p, tp_size cap);
TP_IMPORT(request) int tp_request(void);
TP_IMPORT(now) long long tp_now(void);
TP_IMPORT(random) int tp_random(void *p, tp_size n);
TP_IMPORT(log) int tp_log(int level, const void *p, tp_size n);
TP_IMPORT(emit) int tp_emit(const void *p, tp_size n);
TP_IMPORT(http_open) int tp_http_open(const void *head, tp_size hn, const void *body, tp_size bn);
TP_IMPORT(proc_open) int tp_proc_open(const void *spec, tp_size n);
TP_IMPORT(proc_write) int tp_proc_write(int handle, const void *p, tp_size n);
TP_IMPORT(proc_fill) int tp_proc_fill(int handle, const void *p, tp_size n);
TP_IMPORT(wait) int tp_wait(int handle, long long timeout);
TP_IMPORT(close) int tp_close(int handle);
TP_IMPORT(kv_get) int tp_kv_get(const void *key, tp_size n);
TP_IMPORT(kv_set) int tp_kv_set(const void *key, tp_size kn, const void *value, tp_size vn);
TP_IMPORT(finish) int tp_finish(const void *p, tp_size n);

enum { TP_EINVAL = 1, TP_EDENIED, TP_ENOENT, TP_E2BIG, TP_EIO, TP_ETIMEDOUT, TP_EQUOTA, TP_ECANCELED, TP_ELOST, TP_EBADF, TP_ESTATE };
enum { TP_HEAD = 1, TP_DATA, TP_STDERR, TP_END, TP_FAILED, TP_INPUT = 16, TP_CANCEL };

// memory ----------------------------------------------------------------------

extern tp_byte __heap_base;

static inline void *tp_alloc(tp_size n) {
  static tp_size next;
  if (!next) next = (tp_size)&__heap_base;
  tp_size at = (next + 7) & ~(tp_size)7, have = __builtin_wasm_memory_size(0) << 16;
  next = at + n;
  if (next > have && __builtin_wasm_memory_grow(0, (next - have + 0xffff) >> 16) == (tp_size)-1) __builtin_trap();
  return (void *)at;
}

void *memcpy(void *to, const void *from, tp_size n) {
  for (tp_size i = 0; i < n; i++) ((tp_byte *)to)[i] = ((const tp_byte *)from)[i];
  return to;
}

// text ------------------------------------------------------------------------

static inline tp_text tp_str(const char *s) {
  tp_text t = {s, 0};
  while (s[t.n]) t.n++;
  return t;
}

static inline int tp_equal(tp_text a, tp_text b) {
  if (a.n != b.n) return 0;
  for (tp_size i = 0; i < a.n; i++) if (a.p[i] != b.p[i]) return 0;
  return 1;
}

// tp_join puts texts together; the last argument is tp_end.
static const tp_text tp_end = {0, (tp_size)-1};
static inline tp_text tp_join(tp_text first, ...) {
  tp_size n = first.n;
  __builtin_va_list v;
  __builtin_va_start(v, first);
  for (tp_text t; (t = __builtin_va_arg(v, tp_text)).n != (tp_size)-1;) n += t.n;
  __builtin_va_end(v);
  char *p = tp_alloc(n), *at = p;
  memcpy(at, first.p, first.n), at += first.n;
  __builtin_va_start(v, first);
  for (tp_text t; (t = __builtin_va_arg(v, tp_text)).n != (tp_size)-1;) memcpy(at, t.p, t.n), at += t.n;
  __builtin_va_end(v);
  return (tp_text){p, n};
}

static inline tp_text tp_number(unsigned n) {
  char *p = tp_alloc(10), *at = p + 10;
  do *--at = '0' + n % 10; while (n /= 10);
  return (tp_text){at, (tp_size)(p + 10 - at)};
}

// JSON ------------------------------------------------------------------------

// tp_skip finds the end of the value at p.
static inline const char *tp_skip(const char *p, const char *end) {
  int depth = 0, quoted = 0;
  for (; p < end; p++) {
    if (quoted) {
      if (*p == '\\') p++;
      else if (*p == '"' && (quoted = 0, !depth)) return p + 1;
    } else if (*p == '"') quoted = 1;
    else if (*p == '{' || *p == '[') depth++;
    else if (*p == '}' || *p == ']') {
      if (!depth) return p;
      if (!--depth) return p + 1;
    } else if (!depth && (*p == ',' || *p == ' ' || *p == '\n')) return p;
  }
  return end;
}

static inline const char *tp_space(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r' || *p == ',' || *p == ':')) p++;
  return p;
}

// tp_member finds a member of an object, as it is written; its p is 0 when there is none.
static inline tp_text tp_member(tp_text object, const char *name) {
  const char *end = object.p + object.n, *p = object.p;
  tp_text want = tp_str(name);
  if (!object.n || *p != '{') return (tp_text){0, 0};
  for (p = tp_space(p + 1, end); p < end && *p == '"'; p = tp_space(p, end)) {
    const char *key = p + 1;
    p = tp_skip(p, end);
    tp_text have = {key, (tp_size)(p - key - 1)};
    const char *value = tp_space(p, end);
    p = tp_skip(value, end);
    if (tp_equal(have, want)) return (tp_text){value, (tp_size)(p - value)};
  }
  return (tp_text){0, 0};
}

// tp_inner is what stands between the quotes of a JSON string, escapes as they are; its p is 0 for anything else.
static inline tp_text tp_inner(tp_text value) {
  if (!value.p || value.n < 2 || *value.p != '"') return (tp_text){0, 0};
  return (tp_text){value.p + 1, value.n - 2};
}

// tp_quote writes a text as a JSON string.
static inline tp_text tp_quote(tp_text t) {
  static const char hex[] = "0123456789abcdef";
  char *p = tp_alloc(t.n * 6 + 2), *at = p;
  *at++ = '"';
  for (tp_size i = 0; i < t.n; i++) {
    tp_byte c = t.p[i];
    if (c == '"' || c == '\\') *at++ = '\\', *at++ = c;
    else if (c < 0x20) memcpy(at, "\\u00", 4), at += 4, *at++ = hex[c >> 4], *at++ = hex[c & 15];
    else *at++ = c;
  }
  *at++ = '"';
  return (tp_text){p, (tp_size)(at - p)};
}

// the turn --------------------------------------------------------------------

static inline tp_text tp_taken(int n) {
  if (n < 0) return (tp_text){0, 0};
  char *p = tp_alloc(n + 1);
  tp_take(p, n);
  return (tp_text){p, (tp_size)n};
}

static inline tp_text tp_turn_request(void) { return tp_taken(tp_request()); }
static inline tp_text tp_get(const char *key) { return tp_taken(tp_kv_get(key, tp_str(key).n)); }
static inline void tp_set(const char *key, tp_text value) { tp_kv_set(key, tp_str(key).n, value.p, value.n); }
static inline void tp_say(tp_text event) { if (tp_emit(event.p, event.n) < 0) __builtin_trap(); }

// tp_done ends the turn; turn() returns what it returns.
static inline int tp_done(tp_text result) { return tp_finish(result.p, result.n); }

static inline int tp_fail(const char *kind, tp_text message) {
  return tp_done(tp_join(tp_str("{\"status\":\"failed\",\"kind\":\""), tp_str(kind), tp_str("\",\"message\":"), tp_quote(message), tp_str("}"), tp_end));
}

typedef struct { unsigned kind, handle; int code; unsigned flags; tp_text payload; } tp_record;

// tp_next waits for the next record of a handle, or of any when it is 0. kind is 0 when the time ran out.
static inline tp_record tp_next(int handle, long long timeout) {
  tp_record r = {0};
  tp_text t = tp_taken(tp_wait(handle, timeout));
  if (t.n < 16) return r;
  memcpy(&r, t.p, 16);
  r.payload = (tp_text){t.p + 16, t.n - 16};
  return r;
}

int turn(void);
TP_EXPORT(turn_v1) int turn_v1(void) { return turn(); }
TP_EXPORT(manifest_v1) int manifest_v1(void) { return tp_done(tp_str(PLUGIN_MANIFEST)); }

#endif
