// Uses every function of the ABI once and says what came of each.
#define PLUGIN_MANIFEST "{\"name\":\"calls\",\"version\":\"1\"}"
#include "towpath.h"

static void said(const char *function, tp_text text) {
  tp_say(tp_join(tp_str("{\"type\":\""), tp_str(function), tp_str("\",\"text\":"), tp_quote(text), tp_str("}"), tp_end));
}

static tp_text yes(int it_is) { return tp_str(it_is ? "true" : "false"); }

int turn(void) {
  said("request", tp_inner(tp_member(tp_member(tp_turn_request(), "input"), "test")));
  long long began = tp_now();
  said("now", yes(tp_now() > began));
  long long one, two;
  tp_random(&one, 8), tp_random(&two, 8);
  said("random", yes(one != two));
  tp_log(0, "hello", 5);
  said("log", tp_str("hello"));
  if (tp_kv_get("color", 5) != -TP_ENOENT) return tp_fail("internal", tp_str("the key is there"));
  said("kv_get", tp_str("none"));
  tp_set("color", tp_str("blue"));
  said("kv_set", tp_get("color"));

  tp_text head = tp_str("{\"method\":\"GET\",\"url\":\"https://a/\"}"), spec = tp_str("{\"name\":\"tool\"}");
  int handle = tp_http_open(head.p, head.n, 0, 0);
  tp_record answer = tp_next(handle, -1), body = tp_next(handle, -1);
  said("http_open", tp_join(tp_number(answer.code), (tp_text){body.payload.p + 2, body.payload.n - 2}, tp_end));
  said("close", yes(tp_close(handle) == 0));

  int child = tp_proc_open(spec.p, spec.n);
  said("proc_open", yes(child > 0));
  said("proc_write", yes(tp_proc_write(child, "line\n", 5) == 0));
  tp_text secret = tp_str("{{secret:OTHER}}");
  said("proc_fill", yes(tp_proc_fill(child, secret.p, secret.n) == -TP_EDENIED));
  tp_record end = tp_next(child, -1);
  said("wait", yes(end.kind == TP_FAILED && end.code == -TP_ELOST));
  return tp_done(tp_str("{\"status\":\"completed\"}"));
}
