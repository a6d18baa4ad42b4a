//! Sends the input to config.url and emits the answer line by line as it comes.
extern crate alloc;
#[macro_use]
#[path = "towpath.rs"]
mod towpath;

plugin!(r#"{"name":"stream","version":"1","http":[{"host":"127.0.0.1","methods":["POST"],"secrets":["KEY"]}]}"#, turn);

fn turn(request: &str) -> String {
    let url = match towpath::member(request, "config").and_then(|c| towpath::member(c, "url")) {
        Some(url) => url,
        None => return towpath::failed("invalid", r#"config has no "url""#),
    };
    let input = towpath::member(request, "input").unwrap_or("{}");
    let mut retry = 0;
    loop {
        match ask(url, input, retry) {
            Ok(result) => return result,
            Err(e) if e.code == towpath::ELOST => retry = e.message.parse().unwrap_or(0),
            Err(e) => return towpath::failed("network", &e.message),
        }
    }
}

/// One exchange. The error of one that was lost with its worker is ELOST with the handle to name.
fn ask(url: &str, input: &str, retry: u32) -> Result<String, towpath::Error> {
    let head = format!(r#"{{"method":"POST","headers":{{"authorization":"Bearer {{{{secret:KEY}}}}"}},"url":{},"retry_of":{}}}"#, url, retry);
    let handle = towpath::http_open(&head, input.as_bytes())?;
    let (mut said, mut rest) = (String::new(), Vec::new());
    loop {
        let r = match towpath::wait(0, -1)? {
            Some(r) => r,
            None => continue,
        };
        if r.kind == towpath::CANCEL {
            return Ok(r#"{"status":"cancelled"}"#.into());
        }
        if r.handle != handle {
            continue;
        }
        match r.kind {
            towpath::HEAD if r.code != 200 => return Ok(towpath::failed("provider", &format!("status {}", r.code))),
            towpath::DATA => {
                rest.extend(r.payload);
                while let Some(n) = rest.iter().position(|c| *c == b'\n') {
                    let line = String::from_utf8_lossy(&rest[..n]).into_owned();
                    rest.drain(..=n);
                    towpath::emit(&format!(r#"{{"type":"message.delta","text":{}}}"#, towpath::quote(&line)))?;
                    said += &line;
                    said.push('\n');
                }
            }
            towpath::END => return Ok(format!(r#"{{"status":"completed","text":{}}}"#, towpath::quote(&said))),
            towpath::FAILED if r.code == -towpath::ELOST => return Err(towpath::Error { code: towpath::ELOST, message: format!("{}", handle) }),
            towpath::FAILED => return Err(towpath::Error { code: -r.code, message: String::from_utf8_lossy(&r.payload).into_owned() }),
            _ => {}
        }
    }
}
