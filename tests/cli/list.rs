use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pipe::fcntl_getpipe_size;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateway.jsonl.zst");

#[test]
fn a_listing_goes_on_while_its_reader_is_busy() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(["list", "--from", SAMPLE])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0];
    stdout.read_exact(&mut first).unwrap();
    assert!(fcntl_getpipe_size(&stdout).unwrap() >= 256 << 10);
    std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .args(["list", "--from", SAMPLE])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    assert_eq!(ended.stderr, b"");
}
