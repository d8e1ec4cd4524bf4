//! Any text is a policy or has diagnostics with places inside it; nothing panics. A line of three
//! dashes starts the next layer, a line that begins with `--set ` is an assignment.

#![no_main]

use conntidy::policy::{Text, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let mut texts = Vec::new();
    for (number, layer) in input.split("\n---\n").enumerate() {
        texts.push(match layer.strip_prefix("--set ") {
            Some(assignment) => Text::assignment(assignment),
            None => Text::file(number.to_string(), layer),
        });
    }
    let loaded = load::load(&texts);
    assert!(loaded.policy.is_some() || !loaded.diagnostics.is_empty());
    for diagnostic in &loaded.diagnostics {
        let Some(place) = &diagnostic.place else {
            continue;
        };
        let text = &texts[place.text];
        let span = text.clamp(&place.span);
        assert!(text.content.get(span).is_some());
    }
});
