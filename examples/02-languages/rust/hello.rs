//! The smallest useful plugin: it greets, and counts the turns of its session.
extern crate alloc;
#[macro_use]
#[path = "towpath.rs"]
mod towpath;

plugin!(r#"{"name":"hello","version":"1"}"#, turn);

fn turn(request: &str) -> String {
    let field = |object, name| towpath::member(request, object).and_then(|o| towpath::member(o, name)).and_then(towpath::inner);
    let name = match field("input", "text") {
        Some(name) if !name.is_empty() => name,
        _ => return towpath::failed("invalid", r#"input has no "text": pass {"text":"your name"}"#),
    };
    match greet(field("config", "greeting").unwrap_or("Hello"), name) {
        Ok(result) => result,
        Err(e) => towpath::failed("internal", &e.message),
    }
}

fn greet(greeting: &str, name: &str) -> Result<String, towpath::Error> {
    let mut count = 1;
    if let Some(before) = towpath::get("turns")? {
        count += before.iter().fold(0, |n, c| n * 10 + (c - b'0') as u32);
    }
    towpath::set("turns", format!("{}", count).as_bytes())?;

    let text = format!("{}, {}!", greeting, name);
    towpath::emit(r#"{"type":"turn.started"}"#)?;
    towpath::emit(&format!(r#"{{"type":"message","text":"{}"}}"#, text))?;
    Ok(format!(r#"{{"status":"completed","text":"{}","turn":{}}}"#, text, count))
}
