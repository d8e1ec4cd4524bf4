//! What decoding one captured message costs, beside the crate's own decoder.

use conntidy::kernel::decode::decode;
use conntidy::kernel::message::messages;
use divan::Bencher;
use divan::counter::ItemsCount;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_netfilter::NetfilterMessage;

const FILES: [&str; 3] = ["made", "extended", "traffic"];

fn main() {
    divan::main();
}

fn capture(name: &str) -> Vec<u8> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures");
    std::fs::read(format!("{directory}/linux-6.18-{name}.bin")).expect("a capture")
}

#[divan::bench(args = FILES)]
fn borrowed(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = capture(name);
    bencher
        .counter(ItemsCount::new(messages(&bytes).count()))
        .bench(|| {
            for message in messages(divan::black_box(&bytes)).flatten() {
                let _ = divan::black_box(decode(message.bytes));
            }
        });
}

#[divan::bench(args = FILES)]
fn netlink_packet_netfilter(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = capture(name);
    bencher
        .counter(ItemsCount::new(messages(&bytes).count()))
        .bench(|| {
            for message in messages(divan::black_box(&bytes)).flatten() {
                let _ = divan::black_box(NetlinkMessage::<NetfilterMessage>::deserialize(
                    message.bytes,
                ));
            }
        });
}
