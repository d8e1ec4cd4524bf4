use conntidy::policy::diagnostic::Severity;
use conntidy::policy::{Text, load};
use proptest::prelude::*;

const WHOLE: &str = include_str!("../cases/policy/valid/every-key.toml");

/// What holds of any texts whatever.
fn hold_invariants(texts: &[Text]) {
    let loaded = load::load(texts);
    let is_wrong = loaded
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(loaded.policy.is_none(), is_wrong);
    for diagnostic in &loaded.diagnostics {
        let place = diagnostic.place.as_ref().expect("a place");
        let text = &texts[place.text];
        let span = text.clamp(&place.span);
        assert!(text.content.get(span.clone()).is_some());
        assert_eq!(text.clamp(&span), span);
        assert!(!diagnostic.message.is_empty());
        assert!(!diagnostic.message.ends_with('.'), "{}", diagnostic.message);
    }
    assert_eq!(load::load(texts).diagnostics, loaded.diagnostics);
}

/// Enough to meet what is there in a second or two; the fuzz target goes on from here.
const CASES: u32 = 64;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn any_text_is_a_policy_or_has_mistakes(text in "\\PC{0,200}", assignment in "\\PC{0,40}") {
        hold_invariants(&[Text::file("a", text), Text::assignment(assignment)]);
    }

    #[test]
    fn text_that_looks_like_toml_is_too(
        text in r#"(([a-z\[\]"'{}=.,#0-9@/-]|version|rules|match|not|\n| = ){0,60}\n?){1,3}"#,
    ) {
        hold_invariants(&[Text::file("a", text)]);
    }

    #[test]
    fn a_policy_with_a_piece_cut_out_or_moved_is_too(
        from in 0..WHOLE.len(), length in 0..60_usize, to in 0..WHOLE.len(),
    ) {
        prop_assume!(WHOLE.is_ascii());
        let end = (from + length).min(WHOLE.len());
        let cut = format!("{}{}", &WHOLE[..from], &WHOLE[end..]);
        let mut moved = cut.clone();
        moved.insert_str(to.min(cut.len()), &WHOLE[from..end]);
        hold_invariants(&[Text::file("cut", cut), Text::file("moved", moved)]);
    }

    #[test]
    fn a_value_replaced_by_another_is_too(
        line in 0..WHOLE.lines().count(),
        value in prop::sample::select(vec![
            "-1", "0", "true", "\"\"", "[]", "{}", "[{}]", "1e300", "nan", "2024-01-01", "\"@x\"",
            "18446744073709551615", "99999999999999999999999", "[[1]]", "{ value = 1 }", "\"1-0\"",
            "\"é\"", "{ mode = \"observe\" }", "[\"tcp.close\", 3]",
        ]),
    ) {
        let lines = WHOLE.lines().enumerate().map(|(number, text)| {
            match text.split_once('=') {
                Some((key, _)) if number == line => format!("{key}= {value}\n"),
                _ => format!("{text}\n"),
            }
        });
        hold_invariants(&[Text::file("a", lines.collect::<String>())]);
    }
}
