//! The network namespace that a line is about, at its end, where a command looks at several.

use crate::column::Value;

/// Appends it to the line of text that was written last.
pub(crate) fn text(out: &mut Vec<u8>, name: &str) {
    out.pop();
    out.extend_from_slice(b" netns=");
    out.extend_from_slice(name.as_bytes());
    out.push(b'\n');
}

/// Appends it to the JSON object of a line that was written last.
pub(crate) fn json(out: &mut Vec<u8>, name: &str) {
    out.truncate(out.len() - b"}\n".len());
    out.extend_from_slice(b",\"netns\":");
    Value::from(name).json(out);
    out.extend_from_slice(b"}\n");
}
