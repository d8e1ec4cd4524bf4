//! A line of text while it is being typed.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The text and where the next character goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Editor {
    text: Vec<char>,
    at: usize,
}

impl Editor {
    /// Goes on with a text, at its end.
    pub(super) fn new(text: &str) -> Self {
        let text: Vec<_> = text.chars().collect();
        Self {
            at: text.len(),
            text,
        }
    }

    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// Characters before the cursor.
    pub(super) fn cursor(&self) -> usize {
        self.at
    }

    /// What a key does to the line; those of readline where there are any.
    pub(super) fn key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('a') if control => self.at = 0,
            KeyCode::Char('e') if control => self.at = self.text.len(),
            KeyCode::Char('u') if control => {
                self.text.drain(..self.at);
                self.at = 0;
            }
            KeyCode::Char('k') if control => self.text.truncate(self.at),
            KeyCode::Char('w') if control => self.drop_word(),
            KeyCode::Char('h') if control => self.drop_before(),
            KeyCode::Char(_) if control || key.modifiers.contains(KeyModifiers::ALT) => {}
            KeyCode::Char(typed) => {
                self.text.insert(self.at, typed);
                self.at += 1;
            }
            KeyCode::Backspace => self.drop_before(),
            KeyCode::Delete if self.at < self.text.len() => {
                self.text.remove(self.at);
            }
            KeyCode::Left => self.at = self.at.saturating_sub(1),
            KeyCode::Right => self.at = (self.at + 1).min(self.text.len()),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = self.text.len(),
            _ => {}
        }
    }

    fn drop_before(&mut self) {
        if let Some(before) = self.at.checked_sub(1) {
            self.text.remove(before);
            self.at = before;
        }
    }

    fn drop_word(&mut self) {
        let before = &self.text[..self.at];
        let end = before
            .iter()
            .rposition(|c| *c != ' ')
            .map_or(0, |at| at + 1);
        let start = before[..end].iter().rposition(|c| *c == ' ');
        let start = start.map_or(0, |at| at + 1);
        self.text.drain(start..self.at);
        self.at = start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(editor: &mut Editor, codes: &[KeyCode], modifiers: KeyModifiers) {
        for code in codes {
            editor.key(KeyEvent::new(*code, modifiers));
        }
    }

    #[test]
    fn keys_do_what_they_do_on_a_shells_line() {
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        let mut editor = Editor::new("-p tcp --dport 80");
        press(&mut editor, &[KeyCode::Backspace, KeyCode::Char('1')], none);
        assert_eq!(editor.text(), "-p tcp --dport 81");
        press(
            &mut editor,
            &[KeyCode::Char('w'), KeyCode::Char('w')],
            control,
        );
        assert_eq!(editor.text(), "-p tcp ");
        press(
            &mut editor,
            &[KeyCode::Char('a'), KeyCode::Char('x')],
            control,
        );
        assert_eq!((editor.text().as_str(), editor.cursor()), ("-p tcp ", 0));
        press(
            &mut editor,
            &[KeyCode::Delete, KeyCode::Right, KeyCode::Char('é')],
            none,
        );
        assert_eq!((editor.text().as_str(), editor.cursor()), ("pé tcp ", 2));
        press(&mut editor, &[KeyCode::Char('k')], control);
        press(&mut editor, &[KeyCode::Char('u')], control);
        press(
            &mut editor,
            &[KeyCode::Backspace, KeyCode::Left, KeyCode::Delete],
            none,
        );
        assert_eq!((editor.text().as_str(), editor.cursor()), ("", 0));
    }
}
