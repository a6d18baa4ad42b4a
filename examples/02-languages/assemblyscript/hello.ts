// The smallest useful plugin: it greets, and counts the turns of its session.
import { emit, fail, finish, get, inner, member, request, set } from "./towpath";

export function manifest_v1(): i32 { return finish('{"name":"hello","version":"1"}'); }

export function turn_v1(): i32 {
  const req = request();
  const name = inner(member(member(req, "input"), "text"));
  const greeting = inner(member(member(req, "config"), "greeting"));
  if (name == "") return fail("invalid", 'input has no "text": pass {"text":"your name"}');

  const before = get("turns");
  const turn = before === null ? 1 : I32.parseInt(before) + 1;
  set("turns", turn.toString());

  const text = (greeting == "" ? "Hello" : greeting) + ", " + name + "!";
  emit('{"type":"turn.started"}');
  emit('{"type":"message","text":"' + text + '"}');
  return finish('{"status":"completed","text":"' + text + '","turn":' + turn.toString() + "}");
}
