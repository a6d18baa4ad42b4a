//! Uses every function of the ABI once and says what came of each.
extern crate alloc;
#[macro_use]
#[path = "towpath.rs"]
mod towpath;

plugin!(r#"{"name":"calls","version":"1"}"#, turn);

fn turn(request: &str) -> String {
    match calls(request) {
        Ok(()) => r#"{"status":"completed"}"#.into(),
        Err(e) => towpath::failed("internal", &e.message),
    }
}

fn said(function: &str, text: &str) -> Result<u32, towpath::Error> {
    towpath::emit(&format!(r#"{{"type":"{}","text":{}}}"#, function, towpath::quote(text)))
}

fn yes(function: &str, it_is: bool) -> Result<u32, towpath::Error> {
    said(function, if it_is { "true" } else { "false" })
}

fn calls(request: &str) -> Result<(), towpath::Error> {
    let input = towpath::member(request, "input").and_then(|o| towpath::member(o, "test")).and_then(towpath::inner);
    said("request", input.unwrap_or(""))?;
    let began = towpath::now();
    yes("now", towpath::now() > began)?;
    let (mut one, mut two) = ([0; 8], [0; 8]);
    towpath::random(&mut one);
    towpath::random(&mut two);
    yes("random", one != two)?;
    towpath::log(0, "hello");
    said("log", "hello")?;
    said("kv_get", if towpath::get("color")?.is_none() { "none" } else { "some" })?;
    towpath::set("color", b"blue")?;
    said("kv_set", &String::from_utf8_lossy(&towpath::get("color")?.unwrap_or_default()))?;

    let handle = towpath::http_open(r#"{"method":"GET","url":"https://a/"}"#, b"")?;
    let (mut status, mut body) = (0, Vec::new());
    while let Some(r) = towpath::wait(handle, -1)? {
        match r.kind {
            towpath::HEAD => status = r.code,
            towpath::DATA => body.extend(r.payload),
            _ => break,
        }
    }
    said("http_open", &format!("{}{}", status, String::from_utf8_lossy(&body[2..])))?;
    yes("close", towpath::close(handle).is_ok())?;

    let child = towpath::proc_open(r#"{"name":"tool"}"#)?;
    yes("proc_open", child > 0)?;
    yes("proc_write", towpath::proc_write(child, b"line\n").is_ok())?;
    yes("proc_fill", towpath::proc_fill(child, b"{{secret:OTHER}}").map_or_else(|e| e.code == towpath::EDENIED, |_| false))?;
    let end = towpath::wait(child, -1)?;
    yes("wait", end.map_or(false, |r| r.kind == towpath::FAILED && r.code == -towpath::ELOST))?;
    Ok(())
}
