// Sends the input to config.url and emits the answer line by line as it comes.
#define PLUGIN_MANIFEST "{\"name\":\"stream\",\"version\":\"1\",\"http\":[{\"host\":\"127.0.0.1\",\"methods\":[\"POST\"],\"secrets\":[\"KEY\"]}]}"
#include "towpath.h"

int turn(void) {
  tp_text request = tp_turn_request(), input = tp_member(request, "input");
  tp_text url = tp_member(tp_member(request, "config"), "url"), said = {"", 0}, line = {"", 0};
  unsigned retry = 0; // the handle of a request that was lost with its worker
  if (!tp_inner(url).n) return tp_fail("invalid", tp_str("config has no \"url\""));
  for (;;) {
    tp_text head = tp_join(tp_str("{\"method\":\"POST\",\"headers\":{\"authorization\":\"Bearer {{secret:KEY}}\"},\"url\":"), url,
                           tp_str(",\"retry_of\":"), tp_number(retry), tp_str("}"), tp_end);
    int handle = tp_http_open(head.p, head.n, input.p, input.n);
    if (handle < 0) return tp_fail("network", tp_str("the request is refused"));
    retry = 0, said = line = (tp_text){"", 0};
    while (!retry) {
      tp_record r = tp_next(0, -1);
      if (r.kind == TP_CANCEL) return tp_done(tp_str("{\"status\":\"cancelled\"}"));
      if (r.handle != (unsigned)handle) continue;
      if (r.kind == TP_HEAD && r.code != 200) return tp_fail("provider", tp_join(tp_str("status "), tp_number(r.code), tp_end));
      if (r.kind == TP_DATA) {
        line = tp_join(line, r.payload, tp_end);
        for (tp_size i = 0; i < line.n; i++) {
          if (line.p[i] != '\n') continue;
          tp_text one = {line.p, i};
          tp_say(tp_join(tp_str("{\"type\":\"message.delta\",\"text\":"), tp_quote(one), tp_str("}"), tp_end));
          said = tp_join(said, one, tp_str("\n"), tp_end);
          line.p += i + 1, line.n -= i + 1, i = (tp_size)-1;
        }
      }
      if (r.kind == TP_END)
        return tp_done(tp_join(tp_str("{\"status\":\"completed\",\"text\":"), tp_quote(said), tp_str("}"), tp_end));
      if (r.kind == TP_FAILED && r.code == -TP_ELOST) retry = r.handle;
      else if (r.kind == TP_FAILED) return tp_fail("network", r.payload);
    }
  }
}
