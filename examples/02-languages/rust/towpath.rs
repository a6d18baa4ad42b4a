//! The Towpath ABI turn_v1 for Rust, in one file that needs core and alloc only.
//!
//!     rustc --target wasm32-unknown-unknown --crate-type cdylib -O -C panic=abort yours.rs
//!
//! A plugin says `plugin!(MANIFEST, turn)`, where turn takes the request and returns a result, a JSON text. One without std
//! (Rust 1.68 and newer) says `bare!()` too, which brings an allocator that never takes memory back, as an instance runs one
//! turn, and a panic handler.
#![allow(dead_code)]

use alloc::{format, string::String, vec, vec::Vec};
use core::alloc::{GlobalAlloc, Layout};

mod host {
    #[link(wasm_import_module = "turn_v1")]
    extern "C" {
        pub fn take(p: *mut u8, cap: usize) -> i32;
        pub fn request() -> i32;
        pub fn now() -> i64;
        pub fn random(p: *mut u8, n: usize) -> i32;
        pub fn log(level: i32, p: *const u8, n: usize) -> i32;
        pub fn emit(p: *const u8, n: usize) -> i32;
        pub fn http_open(head: *const u8, hn: usize, body: *const u8, bn: usize) -> i32;
        pub fn proc_open(spec: *const u8, n: usize) -> i32;
        pub fn proc_write(handle: u32, p: *const u8, n: usize) -> i32;
        pub fn proc_fill(handle: u32, p: *const u8, n: usize) -> i32;
        pub fn wait(handle: u32, timeout: i64) -> i32;
        pub fn close(handle: u32) -> i32;
        pub fn kv_get(key: *const u8, n: usize) -> i32;
        pub fn kv_set(key: *const u8, kn: usize, value: *const u8, vn: usize) -> i32;
        pub fn finish(p: *const u8, n: usize) -> i32;
    }
}

/// Why a host call was refused: the ABI's code, and a message for people.
pub struct Error {
    pub code: i32,
    pub message: String,
}

pub const EDENIED: i32 = 2;
pub const ENOENT: i32 = 3;
pub const ELOST: i32 = 9;

fn taken(n: i32) -> Vec<u8> {
    let mut b = vec![0; n.max(0) as usize];
    let got = unsafe { host::take(b.as_mut_ptr(), b.len()) };
    b.truncate(got.max(0) as usize);
    b
}

fn checked(n: i32) -> Result<u32, Error> {
    if n >= 0 {
        return Ok(n as u32);
    }
    let mut b = vec![0; 1024];
    let got = unsafe { host::take(b.as_mut_ptr(), b.len()) };
    b.truncate(got.max(0) as usize);
    Err(Error { code: -n, message: String::from_utf8_lossy(&b).into_owned() })
}

pub fn request() -> String {
    String::from_utf8_lossy(&taken(unsafe { host::request() })).into_owned()
}

/// Emits one event, a JSON object with a type.
pub fn emit(event: &str) -> Result<u32, Error> {
    checked(unsafe { host::emit(event.as_ptr(), event.len()) })
}

pub fn log(level: i32, text: &str) {
    unsafe { host::log(level, text.as_ptr(), text.len()) };
}

/// Unix time in nanoseconds on the turn's clock.
pub fn now() -> i64 {
    unsafe { host::now() }
}

pub fn random(p: &mut [u8]) {
    unsafe { host::random(p.as_mut_ptr(), p.len()) };
}

/// Reads a key of the session; None when it has none.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    match checked(unsafe { host::kv_get(key.as_ptr(), key.len()) }) {
        Ok(n) => Ok(Some(taken(n as i32))),
        Err(e) if e.code == ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes a key of the session, kept when the turn ends; an empty value deletes it.
pub fn set(key: &str, value: &[u8]) -> Result<u32, Error> {
    checked(unsafe { host::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

/// Begins a request and returns its handle. head is JSON: method, url, headers, retry_of.
pub fn http_open(head: &str, body: &[u8]) -> Result<u32, Error> {
    checked(unsafe { host::http_open(head.as_ptr(), head.len(), body.as_ptr(), body.len()) })
}

pub fn proc_open(spec: &str) -> Result<u32, Error> {
    checked(unsafe { host::proc_open(spec.as_ptr(), spec.len()) })
}

/// Writes to a child's standard input as it is; nothing closes it.
pub fn proc_write(handle: u32, p: &[u8]) -> Result<u32, Error> {
    checked(unsafe { host::proc_write(handle, p.as_ptr(), p.len()) })
}

/// Writes a text of the plugin's own to a child's standard input; the host fills its placeholders.
pub fn proc_fill(handle: u32, text: &[u8]) -> Result<u32, Error> {
    checked(unsafe { host::proc_fill(handle, text.as_ptr(), text.len()) })
}

pub fn close(handle: u32) -> Result<u32, Error> {
    checked(unsafe { host::close(handle) })
}

pub const HEAD: u32 = 1;
pub const DATA: u32 = 2;
pub const STDERR: u32 = 3;
pub const END: u32 = 4;
pub const FAILED: u32 = 5;
pub const INPUT: u32 = 16;
pub const CANCEL: u32 = 17;

/// What wait yields.
pub struct Record {
    pub kind: u32,
    pub handle: u32,
    pub code: i32,
    pub payload: Vec<u8>,
}

/// Waits for the next record of a handle, or of any when it is 0; None when the time in nanoseconds ran out, never when it
/// is below 0.
pub fn wait(handle: u32, timeout: i64) -> Result<Option<Record>, Error> {
    let n = checked(unsafe { host::wait(handle, timeout) })?;
    if n < 16 {
        return Ok(None);
    }
    let b = taken(n as i32);
    let word = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
    Ok(Some(Record { kind: word(0), handle: word(4), code: word(8) as i32, payload: b[16..].to_vec() }))
}

/// The result of a turn that failed.
pub fn failed(kind: &str, message: &str) -> String {
    format!("{{\"status\":\"failed\",\"kind\":\"{}\",\"message\":{}}}", kind, quote(message))
}

/// Ends the turn; what turn_v1 returns.
pub fn finish(result: &str) -> i32 {
    unsafe { host::finish(result.as_ptr(), result.len()) }
}

/// Finds a member of a JSON object, as it is written.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let b = object.as_bytes();
    let space = |mut i: usize| {
        while i < b.len() && b" \n\t\r,:".contains(&b[i]) {
            i += 1;
        }
        i
    };
    if b.first() != Some(&b'{') {
        return None;
    }
    let mut i = space(1);
    while i < b.len() && b[i] == b'"' {
        let end = skip(b, i);
        let key = &object[i + 1..end.max(i + 2) - 1];
        let value = space(end);
        i = skip(b, value);
        if key == name {
            return Some(&object[value..i]);
        }
        i = space(i);
    }
    None
}

/// Finds the end of the value at i.
fn skip(b: &[u8], mut i: usize) -> usize {
    let (mut depth, mut quoted) = (0, false);
    while i < b.len() {
        match b[i] {
            b'\\' if quoted => i += 1,
            b'"' if quoted => {
                quoted = false;
                if depth == 0 {
                    return i + 1;
                }
            }
            _ if quoted => {}
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return i,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return i + 1;
                }
            }
            b',' | b' ' | b'\n' if depth == 0 => return i,
            _ => {}
        }
        i += 1;
    }
    b.len()
}

/// What stands between the quotes of a JSON string, escapes as they are.
pub fn inner(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Writes a text as a JSON string.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Memory that is handed out and never taken back.
pub struct Bump;

static mut NEXT: usize = 0;

extern "C" {
    static __heap_base: u8;
}

unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 {
        if NEXT == 0 {
            NEXT = &__heap_base as *const u8 as usize;
        }
        let at = (NEXT + l.align() - 1) & !(l.align() - 1);
        let have = core::arch::wasm32::memory_size(0) << 16;
        if at + l.size() > have && core::arch::wasm32::memory_grow(0, (at + l.size() - have + 0xffff) >> 16) == usize::MAX {
            return core::ptr::null_mut();
        }
        NEXT = at + l.size();
        at as *mut u8
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Makes a crate a plugin: plugin!(MANIFEST, turn), where turn is fn(&str) -> String.
#[macro_export]
macro_rules! plugin {
    ($manifest:expr, $turn:expr) => {
        #[no_mangle]
        pub extern "C" fn turn_v1() -> i32 {
            towpath::finish(&$turn(&towpath::request()))
        }

        #[no_mangle]
        pub extern "C" fn manifest_v1() -> i32 {
            towpath::finish($manifest)
        }
    };
}

/// What a crate with #![no_std] needs beside plugin!.
#[macro_export]
macro_rules! bare {
    () => {
        #[global_allocator]
        static MEMORY: towpath::Bump = towpath::Bump;

        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}
