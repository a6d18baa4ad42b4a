// Sends the input to config.url and emits the answer line by line as it comes.
import { CANCEL, DATA, ELOST, END, FAILED, HEAD, emit, fail, finish, httpOpen, inner, member, quote, request, wait } from "./towpath";

export function manifest_v1(): i32 {
  return finish('{"name":"stream","version":"1","http":[{"host":"127.0.0.1","methods":["POST"],"secrets":["KEY"]}]}');
}

export function turn_v1(): i32 {
  const req = request(), input = member(req, "input"), url = member(member(req, "config"), "url");
  if (inner(url) == "") return fail("invalid", 'config has no "url"');
  let retry = 0; // the handle of a request that was lost with its worker
  while (true) {
    const head = '{"method":"POST","headers":{"authorization":"Bearer {{secret:KEY}}"},"url":' + url + ',"retry_of":' + retry.toString() + "}";
    const handle = httpOpen(head, input);
    if (handle < 0) return fail("network", "the request is refused");
    retry = 0;
    let said = "", rest = new ArrayBuffer(0);
    while (retry == 0) {
      const r = wait(0, -1);
      if (r === null) continue;
      if (r.kind == CANCEL) return finish('{"status":"cancelled"}');
      if (r.handle != handle) continue;
      if (r.kind == HEAD && r.code != 200) return fail("provider", "status " + r.code.toString());
      if (r.kind == DATA) {
        const all = new Uint8Array(rest.byteLength + r.payload.byteLength);
        all.set(Uint8Array.wrap(rest), 0);
        all.set(Uint8Array.wrap(r.payload), rest.byteLength);
        let from = 0;
        for (let i = 0; i < all.length; i++) {
          if (all[i] != 0x0a) continue;
          const line = String.UTF8.decode(all.buffer.slice(from, i));
          emit('{"type":"message.delta","text":' + quote(line) + "}");
          said += line + "\n";
          from = i + 1;
        }
        rest = all.buffer.slice(from, all.length);
      }
      if (r.kind == END) return finish('{"status":"completed","text":' + quote(said) + "}");
      if (r.kind == FAILED) {
        if (r.code != -ELOST) return fail("network", String.UTF8.decode(r.payload));
        retry = handle;
      }
    }
  }
}
