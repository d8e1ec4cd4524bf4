//! How things look, with colours and without.

use ratatui::style::{Color, Modifier, Style};

/// Styles by meaning. Without colours, bold and reversed text must do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colors: bool,
}

#[expect(clippy::unused_self, reason = "what is coloured is the theme's affair")]
impl Theme {
    fn colored(self, color: Color) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is only to be read by who looks for it.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The head of a table.
    pub(super) fn head(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn key(self) -> Style {
        self.head()
    }

    pub(super) fn fine(self) -> Style {
        self.colored(Color::Green)
    }

    pub(super) fn doubt(self) -> Style {
        self.colored(Color::Yellow)
    }

    pub(super) fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// A table that is full to so many percent.
    pub(super) fn fill(self, percent: u64) -> Style {
        match percent {
            0..75 => self.fine(),
            75..90 => self.doubt(),
            _ => self.bad(),
        }
    }

    /// Growth is what one looks for.
    pub(super) fn growth(self, growth: i64) -> Style {
        match growth {
            0 => self.dim(),
            1.. => self.doubt(),
            _ => self.fine(),
        }
    }
}
