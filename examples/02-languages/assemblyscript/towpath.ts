// The Towpath ABI turn_v1 for AssemblyScript, in one file.
//
//   asc yours.ts -O --runtime stub --exportStart _initialize --use abort= -o yours.wasm
//
// A plugin exports turn_v1 and manifest_v1; both return what finish returns. Memory is never given back (--runtime stub),
// as an instance runs one turn.

@external("turn_v1", "take") declare function take(p: usize, cap: usize): i32;
@external("turn_v1", "request") declare function host_request(): i32;
@external("turn_v1", "now") export declare function now(): i64;
@external("turn_v1", "random") declare function host_random(p: usize, n: usize): i32;
@external("turn_v1", "log") declare function host_log(level: i32, p: usize, n: usize): i32;
@external("turn_v1", "emit") declare function host_emit(p: usize, n: usize): i32;
@external("turn_v1", "http_open") declare function host_http_open(head: usize, hn: usize, body: usize, bn: usize): i32;
@external("turn_v1", "proc_open") declare function host_proc_open(spec: usize, n: usize): i32;
@external("turn_v1", "proc_write") declare function host_proc_write(handle: i32, p: usize, n: usize): i32;
@external("turn_v1", "proc_fill") declare function host_proc_fill(handle: i32, p: usize, n: usize): i32;
@external("turn_v1", "wait") declare function host_wait(handle: i32, timeout: i64): i32;
@external("turn_v1", "close") export declare function close(handle: i32): i32;
@external("turn_v1", "kv_get") declare function host_kv_get(key: usize, n: usize): i32;
@external("turn_v1", "kv_set") declare function host_kv_set(key: usize, kn: usize, value: usize, vn: usize): i32;
@external("turn_v1", "finish") declare function host_finish(p: usize, n: usize): i32;

export const EDENIED: i32 = 2;
export const ENOENT: i32 = 3;
export const ELOST: i32 = 9;

export const HEAD: u32 = 1;
export const DATA: u32 = 2;
export const STDERR: u32 = 3;
export const END: u32 = 4;
export const FAILED: u32 = 5;
export const INPUT: u32 = 16;
export const CANCEL: u32 = 17;

function utf8(s: string): ArrayBuffer { return String.UTF8.encode(s); }
function at(b: ArrayBuffer): usize { return changetype<usize>(b); }

function taken(n: i32): ArrayBuffer {
  const b = new ArrayBuffer(n);
  take(at(b), n);
  return b;
}

/** The turn request, JSON. */
export function request(): string { return String.UTF8.decode(taken(host_request())); }

/** Emits one event, a JSON object with a type; below 0 is a refusal. */
export function emit(event: string): i32 {
  const b = utf8(event);
  return host_emit(at(b), b.byteLength);
}

export function log(level: i32, text: string): void {
  const b = utf8(text);
  host_log(level, at(b), b.byteLength);
}

/** Bytes of the turn's random stream. */
export function random(n: i32): ArrayBuffer {
  const b = new ArrayBuffer(n);
  host_random(at(b), n);
  return b;
}

/** Reads a key of the session; null when it has none. */
export function get(key: string): string | null {
  const k = utf8(key), n = host_kv_get(at(k), k.byteLength);
  return n < 0 ? null : String.UTF8.decode(taken(n));
}

/** Writes a key of the session, kept when the turn ends; an empty value deletes it. */
export function set(key: string, value: string): i32 {
  const k = utf8(key), v = utf8(value);
  return host_kv_set(at(k), k.byteLength, at(v), v.byteLength);
}

/** Begins a request and returns its handle, or a refusal below 0. head is JSON: method, url, headers, retry_of. */
export function httpOpen(head: string, body: string): i32 {
  const h = utf8(head), b = utf8(body);
  return host_http_open(at(h), h.byteLength, at(b), b.byteLength);
}

/** Begins a child and returns its handle, or a refusal below 0. spec is JSON: name, args, framing, retry_of. */
export function procOpen(spec: string): i32 {
  const s = utf8(spec);
  return host_proc_open(at(s), s.byteLength);
}

/** Writes to a child's standard input as it is; nothing closes it. */
export function procWrite(handle: i32, text: string): i32 {
  const t = utf8(text);
  return host_proc_write(handle, at(t), t.byteLength);
}

/** Writes a text of the plugin's own to a child's standard input; the host fills its placeholders. */
export function procFill(handle: i32, text: string): i32 {
  const t = utf8(text);
  return host_proc_fill(handle, at(t), t.byteLength);
}

/** What wait yields. */
export class Record {
  constructor(public kind: u32, public handle: i32, public code: i32, public payload: ArrayBuffer) {}
}

/** Waits for the next record of a handle, or of any when it is 0; null when the time in nanoseconds ran out. */
export function wait(handle: i32, timeout: i64): Record | null {
  const n = host_wait(handle, timeout);
  if (n < 16) return null;
  const b = taken(n), p = at(b);
  return new Record(load<u32>(p), load<i32>(p + 4), load<i32>(p + 8), b.slice(16));
}

/** Ends the turn; what turn_v1 returns. */
export function finish(result: string): i32 {
  const b = utf8(result);
  return host_finish(at(b), b.byteLength);
}

export function fail(kind: string, message: string): i32 {
  return finish('{"status":"failed","kind":"' + kind + '","message":' + quote(message) + "}");
}

function space(s: string, i: i32): i32 {
  while (i < s.length && " \n\t\r,:".includes(s.charAt(i))) i++;
  return i;
}

/** Finds the end of the value at i. */
function skip(s: string, i: i32): i32 {
  let depth = 0, quoted = false;
  for (; i < s.length; i++) {
    const c = s.charAt(i);
    if (quoted) {
      if (c == "\\") i++;
      else if (c == '"') {
        quoted = false;
        if (depth == 0) return i + 1;
      }
    } else if (c == '"') quoted = true;
    else if (c == "{" || c == "[") depth++;
    else if (c == "}" || c == "]") {
      if (depth == 0) return i;
      if (--depth == 0) return i + 1;
    } else if (depth == 0 && (c == "," || c == " " || c == "\n")) return i;
  }
  return s.length;
}

/** Finds a member of a JSON object, as it is written; "" when there is none. */
export function member(object: string, name: string): string {
  if (!object.startsWith("{")) return "";
  for (let i = space(object, 1); i < object.length && object.charAt(i) == '"';) {
    const end = skip(object, i), value = space(object, end), next = skip(object, value);
    if (object.substring(i + 1, end - 1) == name) return object.substring(value, next);
    i = space(object, next);
  }
  return "";
}

/** What stands between the quotes of a JSON string, escapes as they are; "" for anything else. */
export function inner(value: string): string {
  return value.startsWith('"') ? value.substring(1, value.length - 1) : "";
}

/** Writes a text as a JSON string. */
export function quote(text: string): string {
  let out = '"', from = 0; // in runs: memory is never given back
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c != 0x22 && c != 0x5c && c >= 0x20) continue;
    out += text.substring(from, i);
    from = i + 1;
    out += c >= 0x20 ? "\\" + String.fromCharCode(c) : "\\u00" + (c < 16 ? "0" : "") + c.toString(16);
  }
  return out + text.substring(from) + '"';
}
