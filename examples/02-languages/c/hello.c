// The smallest useful plugin: it greets, and counts the turns of its session.
#define PLUGIN_MANIFEST "{\"name\":\"hello\",\"version\":\"1\"}"
#include "towpath.h"

int turn(void) {
  tp_text request = tp_turn_request();
  tp_text name = tp_inner(tp_member(tp_member(request, "input"), "text"));
  tp_text greeting = tp_inner(tp_member(tp_member(request, "config"), "greeting"));
  if (!name.n) return tp_fail("invalid", tp_str("input has no \"text\": pass {\"text\":\"your name\"}"));
  if (!greeting.p) greeting = tp_str("Hello");

  unsigned count = 0;
  tp_text before = tp_get("turns");
  for (tp_size i = 0; i < before.n; i++) count = count * 10 + (before.p[i] - '0');
  tp_text now = tp_number(count + 1);
  tp_set("turns", now);

  tp_text text = tp_join(greeting, tp_str(", "), name, tp_str("!"), tp_end);
  tp_say(tp_str("{\"type\":\"turn.started\"}"));
  tp_say(tp_join(tp_str("{\"type\":\"message\",\"text\":\""), text, tp_str("\"}"), tp_end));
  return tp_done(tp_join(tp_str("{\"status\":\"completed\",\"text\":\""), text, tp_str("\",\"turn\":"), now, tp_str("}"), tp_end));
}
