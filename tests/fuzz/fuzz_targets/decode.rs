//! Whatever a datagram holds, the decoder neither panics nor contradicts itself.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz decode tests/fuzz/corpus/decode`

#![no_main]

use conntidy::kernel::decode::decode;
use conntidy::kernel::message::messages;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
    for message in messages(bytes) {
        let Ok(message) = message else { continue };
        let _ = message.answer();
        let _ = message.done();
        if let Ok(record) = decode(message.bytes) {
            let again = decode(record.message).expect("what was decoded once decodes again");
            assert_eq!((record.flow, record.extra), (again.flow, again.extra));
        }
    }
});
