use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::pipe::fcntl_getpipe_size;

#[test]
fn a_listing_goes_on_while_its_reader_is_busy() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gateway.jsonl.zst");
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntidy"))
        .arg("list")
        .arg("--from")
        .arg(sample)
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
