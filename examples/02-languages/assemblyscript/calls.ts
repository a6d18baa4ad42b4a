// Uses every function of the ABI once and says what came of each.
import {
  EDENIED, ELOST, FAILED, close, emit, finish, get, httpOpen, inner, log, member, now, procFill, procOpen, procWrite, quote, random, request, set, wait,
} from "./towpath";

export function manifest_v1(): i32 { return finish('{"name":"calls","version":"1"}'); }

function said(name: string, text: string): void { emit('{"type":"' + name + '","text":' + quote(text) + "}"); }
function yes(name: string, it: bool): void { said(name, it ? "true" : "false"); }

export function turn_v1(): i32 {
  said("request", inner(member(member(request(), "input"), "test")));
  const began = now();
  yes("now", now() > began);
  const one = random(8), two = random(8);
  yes("random", load<u64>(changetype<usize>(one)) != load<u64>(changetype<usize>(two)));
  log(0, "hello");
  said("log", "hello");
  said("kv_get", get("color") === null ? "none" : "some");
  set("color", "blue");
  const color = get("color");
  said("kv_set", color === null ? "" : color);

  const handle = httpOpen('{"method":"GET","url":"https://a/"}', "");
  const head = wait(handle, -1), body = wait(handle, -1);
  if (head === null || body === null) return 1;
  said("http_open", head.code.toString() + String.UTF8.decode(body.payload.slice(2)));
  yes("close", close(handle) == 0);

  const child = procOpen('{"name":"tool"}');
  yes("proc_open", child > 0);
  yes("proc_write", procWrite(child, "line\n") == 0);
  yes("proc_fill", procFill(child, "{{secret:OTHER}}") == -EDENIED);
  const end = wait(child, -1);
  yes("wait", end !== null && end.kind == FAILED && end.code == -ELOST);
  return finish('{"status":"completed"}');
}
