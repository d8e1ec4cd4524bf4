//! `top`: a full-screen view of a table.
//!
//! [`model`] holds what is known and what keys do, [`look`] what one walk of the table sees, and
//! [`view`] what is on the screen; these touch neither terminal nor kernel. [`watcher`] looks at
//! the table on a thread of its own, [`screen`] has the terminal, and here both are brought
//! together.

mod editor;
#[cfg(test)]
mod fixture;
mod growth;
mod hand;
mod look;
mod model;
#[cfg(test)]
mod model_tests;
mod screen;
mod theme;
mod view;
mod watcher;

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{Event, KeyEventKind};

use super::filter::FilterArgs;
use super::{CliError, Outcome};
use crate::group::By;
use crate::kernel::Live;
use crate::observe::Header;
use crate::policy::{Members, Policy, Predicate, Set};
pub(super) use hand::Hand;
use look::Look;
use model::{Model, Step};
use screen::{Screen, Signals, Turn};
use theme::Theme;
use watcher::Watcher;

/// How soon a signal is noticed.
const TICK: Duration = Duration::from_millis(100);

/// With what it starts.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) host: String,
    /// The namespace's name, where it is not the initial one.
    pub(super) netns: Option<String>,
    pub(super) filter: FilterArgs,
    pub(super) predicate: Predicate,
    pub(super) by: By,
    pub(super) every: Duration,
    /// Sets that `@name` may refer to; `None` without a policy.
    pub(super) sets: Option<Vec<Set>>,
}

/// What the loop is told.
enum Told {
    Typed(Event),
    /// The terminal is gone.
    Lost,
    Looked(Box<Look>),
    /// A look failed.
    Failed(String),
    /// Nobody looks any more.
    Over,
}

/// A view that has begun to look.
pub(super) struct Top {
    model: Model,
    watcher: Watcher,
    turn: Turn,
    sender: Sender<Told>,
    told: Receiver<Told>,
    /// What is on the screen is not what is known.
    changed: bool,
}

impl Top {
    /// Begins to look at the table of the calling thread's network namespace. `header` is what was
    /// seen of it just now, with what is remembered of it.
    pub(super) fn start(
        setup: Setup,
        live: Live,
        header: Header,
        named: Option<(Policy, Vec<Members>)>,
    ) -> Result<Self, CliError> {
        let (sender, told) = channel();
        let model = Model::new(setup);
        let watcher =
            Watcher::start(live, header, named, model.ask(), sender.clone()).map_err(no_thread)?;
        Ok(Self {
            model,
            watcher,
            turn: Turn::default(),
            sender,
            told,
            changed: true,
        })
    }

    /// Shows it until the user quits.
    pub(super) fn show(mut self, hand: &Hand, colors: bool) -> Result<Outcome, CliError> {
        let signals = Signals::catch()
            .map_err(|error| CliError::failed("signals cannot be caught").because(error))?;
        let mut screen = Screen::enter(colors).map_err(of_terminal)?;
        screen::listen(self.sender.clone(), self.turn.clone()).map_err(no_thread)?;
        let ended = self.work(hand, Theme { colors }, &mut screen, &signals);
        drop(screen);
        if let Some(signal) = ended? {
            Signals::die_of(signal);
        }
        Ok(Outcome::default())
    }

    /// Shows what comes and does what is typed; the signal that ended it, if one did.
    fn work(
        &mut self,
        hand: &Hand,
        theme: Theme,
        screen: &mut Screen,
        signals: &Signals,
    ) -> Result<Option<i32>, CliError> {
        loop {
            if self.changed {
                screen.draw(&mut self.model, theme).map_err(of_terminal)?;
            }
            let step = self.next()?;
            if let Some(signal) = signals.ending() {
                return Ok(Some(signal));
            }
            match step {
                Step::Quit => return Ok(None),
                Step::Redraw => screen.clear().map_err(of_terminal)?,
                Step::Change => {
                    let Some((target, action)) = self.model.wish.take() else {
                        continue;
                    };
                    let change = || signals.by_default(|| hand.change(&target, action));
                    let mut again = Ok(());
                    self.turn.leave_to(|| again = screen.suspended(change));
                    again.map_err(of_terminal)?;
                    self.watcher.ask(self.model.ask());
                }
                _ if step == Step::Suspend || signals.stopping() => {
                    screen.suspended(|| signals.stop()).map_err(of_terminal)?;
                    self.changed = true;
                }
                _ => {}
            }
        }
    }

    /// Takes in everything that waits, until a key asks for more than to be shown.
    fn next(&mut self) -> Result<Step, CliError> {
        let mut waiting = match self.told.recv_timeout(TICK) {
            Ok(one) => Some(one),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Told::Over),
        };
        self.changed = waiting.is_some();
        while let Some(one) = waiting {
            match one {
                Told::Typed(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    match self.model.key(key) {
                        Step::Stay => {}
                        Step::Ask => self.watcher.ask(self.model.ask()),
                        step => return Ok(step),
                    }
                }
                Told::Typed(_) => {}
                Told::Looked(look) => self.model.take(*look),
                Told::Failed(trouble) => self.model.fail(trouble),
                Told::Lost => return Err(CliError::failed("the terminal is gone")),
                Told::Over => return Err(CliError::failed("the table is not looked at any more")),
            }
            waiting = self.told.try_recv().ok();
        }
        Ok(Step::Stay)
    }
}

fn no_thread(error: std::io::Error) -> CliError {
    CliError::failed("no thread can be started").because(error)
}

fn of_terminal(error: std::io::Error) -> CliError {
    CliError::failed("the terminal cannot be used").because(error)
}
