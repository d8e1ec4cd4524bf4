//! What `top` knows and shows, and what keys do to it. It sees no terminal, thread or clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::super::filter::FilterArgs;
use super::Setup;
use super::editor::Editor;
use super::growth::{Row, Sort, rank};
use super::look::{Ask, Counts, Entry, Look, Losses, Order, Seen};
use crate::flow::FlowKey;
use crate::group::By;
use crate::policy::leaf::Leaf;
use crate::policy::{Action, Predicate, Seconds, Set};

/// Looks that the history holds: the columns of the widest terminals.
const HISTORY: usize = 512;

/// Seconds between looks that `+` and `-` go through.
const PAUSES: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// Groupings that `Tab` goes through.
const GROUPINGS: [&str; 8] = [
    "src",
    "dst",
    "dport",
    "src/24",
    "dst,dport",
    "protocol,state",
    "class",
    "zone",
];

/// What is shown below the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Groups,
    /// The flows of one group.
    Flows,
    /// One flow.
    Flow,
}

/// What is typed in the last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Filter,
    By,
    /// The time that is left to what is selected.
    Expire,
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Flow {
        key: FlowKey,
        id: Option<u32>,
    },
    /// Every flow that passes.
    Group(FilterArgs),
}

/// A line that is being typed.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) purpose: Purpose,
    pub(super) line: Editor,
    /// Why it was not taken.
    pub(super) mistake: Option<String>,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing but to show it.
    Stay,
    /// Something else is to be seen.
    Ask,
    /// To show everything anew.
    Redraw,
    /// To stop until the shell goes on.
    Suspend,
    /// To change what [`Model::wish`] says, once the user has agreed.
    Change,
    Quit,
}

/// All that is known and shown.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Model {
    pub(super) host: String,
    /// Its name, where it is not the initial one.
    pub(super) netns: Option<String>,
    sets: Option<Vec<Set>>,

    /// The filter as it was written; empty where all flows pass.
    pub(super) filter: String,
    predicate: Predicate,
    names_sets: bool,
    pub(super) by: By,
    pub(super) every: Duration,
    pub(super) paused: bool,
    pub(super) sort: Sort,
    pub(super) sort_reversed: bool,
    pub(super) order: Order,
    pub(super) order_reversed: bool,
    /// Counts what is asked.
    version: u64,
    /// The first version with this filter and grouping.
    grouped: u64,
    /// The first version with this group.
    opened: u64,
    /// The first version with this flow.
    flow_asked: u64,

    pub(super) screen: Screen,
    /// The group that was opened.
    pub(super) within: Option<Box<[u8]>>,
    /// The flow that was opened, as it was seen last.
    pub(super) flow: Option<Entry>,
    /// Whether the last look still saw it.
    pub(super) flow_lives: bool,
    pub(super) group_at: usize,
    pub(super) flow_at: usize,
    pub(super) input: Option<Input>,
    /// What is to be expired once it is typed in which time: others may be selected by then.
    expiring: Option<Target>,
    /// What is to be changed, and how.
    pub(super) wish: Option<(Target, Action)>,
    /// Why a key did nothing.
    pub(super) refusal: Option<String>,
    /// Lines of the help that are scrolled away, where it is shown.
    pub(super) help: Option<u16>,
    height: u16,

    /// Entries at each look, the last one last.
    pub(super) history: VecDeque<u64>,
    /// Entries and losses at the first look.
    pub(super) first: Option<(u64, Losses)>,
    /// The last look.
    pub(super) look: Option<Look>,
    /// What went wrong with the look after it.
    pub(super) trouble: Option<String>,
    /// When growth began to be counted.
    pub(super) since: String,
    start: Option<Arc<Counts>>,
    before: Option<Arc<Counts>>,
    now: Option<Arc<Counts>>,
    pub(super) rows: Vec<Row>,
}

impl Model {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            host: setup.host,
            netns: setup.netns,
            sets: setup.sets,
            filter: setup.filter.to_string(),
            names_sets: setup.filter.names_sets(),
            predicate: setup.predicate,
            by: setup.by,
            every: setup.every,
            paused: false,
            sort: Sort::default(),
            sort_reversed: false,
            order: Order::default(),
            order_reversed: false,
            version: 0,
            grouped: 0,
            opened: 0,
            flow_asked: 0,
            screen: Screen::Groups,
            within: None,
            flow: None,
            flow_lives: true,
            group_at: 0,
            flow_at: 0,
            input: None,
            expiring: None,
            wish: None,
            refusal: None,
            help: None,
            height: 24,
            history: VecDeque::new(),
            first: None,
            look: None,
            trouble: None,
            since: String::new(),
            start: None,
            before: None,
            now: None,
            rows: Vec::new(),
        }
    }

    /// What the next look is to see.
    pub(super) fn ask(&self) -> Ask {
        Ask {
            version: self.version,
            predicate: self.predicate.clone(),
            names_sets: self.names_sets,
            by: self.by.clone(),
            within: self.within.clone(),
            order: self.order,
            reversed: self.order_reversed,
            flow: self.flow_key(),
            every: self.every,
            paused: self.paused,
        }
    }

    /// The screen has so many lines, and the help can be scrolled so far.
    pub(super) fn drawn(&mut self, height: u16, help_end: u16) {
        self.height = height;
        self.help = self.help.map(|at| at.min(help_end));
    }

    fn flow_key(&self) -> Option<FlowKey> {
        self.flow.as_ref().map(|(flow, _)| flow.key())
    }

    /// What the last look saw with this filter and grouping; `None` until there is one.
    pub(super) fn seen(&self) -> Option<&Seen> {
        let look = self.look.as_ref()?;
        (look.version >= self.grouped).then_some(&look.seen)
    }

    /// The flows of the group that was opened; `None` until they were looked for.
    pub(super) fn flows(&self) -> Option<&[Entry]> {
        let look = self.look.as_ref()?;
        (look.version >= self.opened).then_some(look.seen.flows.as_slice())
    }

    /// Groups that have flows.
    pub(super) fn groups(&self) -> usize {
        self.now.as_ref().map_or(0, |now| now.groups.len())
    }

    /// Whether there was a look before the last one, with this filter and grouping.
    pub(super) fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Flows of the groups that were not kept apart.
    pub(super) fn beyond(&self) -> u64 {
        self.now.as_ref().map_or(0, |now| now.beyond)
    }

    /// Takes in what was seen.
    pub(super) fn take(&mut self, mut look: Look) {
        self.trouble = None;
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(look.entries);
        self.first.get_or_insert((look.entries, look.losses));
        let flow_selected = self.flow_selected();
        if look.version >= self.grouped {
            let groups = Arc::new(std::mem::take(&mut look.seen.groups));
            self.before = self.now.replace(groups);
            if self.start.is_none() {
                self.start.clone_from(&self.now);
                self.since.clone_from(&look.clock);
            }
            self.rank();
        }
        if self.screen == Screen::Flow && look.version >= self.flow_asked {
            self.flow_lives = look.flow.is_some();
            if look.flow.is_some() {
                self.flow.clone_from(&look.flow);
            }
        }
        self.look = Some(look);
        self.follow_flow(flow_selected);
    }

    /// A look failed; what was seen before stays.
    pub(super) fn fail(&mut self, trouble: String) {
        self.trouble = Some(trouble);
    }

    /// Orders the groups anew; the selection stays on its group, unless it is on the first line.
    fn rank(&mut self) {
        let selected = self.rows.get(self.group_at).map(|row| row.key.clone());
        let Some(now) = &self.now else {
            self.rows.clear();
            return;
        };
        let (before, start) = (self.before.as_deref(), self.start.as_deref());
        self.rows = rank(now, before, start, self.sort, self.sort_reversed);
        if self.group_at > 0
            && let Some(key) = selected
            && let Some(at) = self.rows.iter().position(|row| row.key == key)
        {
            self.group_at = at;
        }
        self.group_at = self.group_at.min(self.rows.len().saturating_sub(1));
    }

    fn flow_selected(&self) -> Option<FlowKey> {
        let (flow, _) = self.flows()?.get(self.flow_at)?;
        Some(flow.key())
    }

    /// The selection stays on its flow, unless it is on the first line.
    fn follow_flow(&mut self, selected: Option<FlowKey>) {
        let flows = self.flows().unwrap_or_default();
        let last = flows.len().saturating_sub(1);
        let found = selected.and_then(|key| flows.iter().position(|(flow, _)| flow.key() == key));
        self.flow_at = match found {
            Some(at) if self.flow_at > 0 => at,
            _ => self.flow_at.min(last),
        };
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Step {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Step::Quit,
            KeyCode::Char('z') if control => return Step::Suspend,
            KeyCode::Char('l') if control => return Step::Redraw,
            _ => {}
        }
        self.refusal = None;
        if self.input.is_some() {
            return self.key_in_line(key);
        }
        if self.help.is_some() {
            return self.key_in_help(key.code);
        }
        if control || key.modifiers.contains(KeyModifiers::ALT) {
            return Step::Stay;
        }
        match key.code {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = Some(0),
            KeyCode::Char('/' | 'f') => self.edit(Purpose::Filter),
            KeyCode::Char('b') => self.edit(Purpose::By),
            KeyCode::Char('d') | KeyCode::Delete => return self.wish_for(Action::Delete),
            KeyCode::Char('x') => match self.target() {
                Ok(target) => {
                    self.expiring = Some(target);
                    self.edit(Purpose::Expire);
                }
                Err(refusal) => self.refusal = Some(refusal),
            },
            KeyCode::Tab => return self.next_grouping(),
            KeyCode::Char('s') => return self.next_sort(),
            KeyCode::Char('r') => return self.reverse(),
            KeyCode::Char('n') => self.count_from_now(),
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Step::Ask;
            }
            KeyCode::Char('+' | '=') => return self.pause_for(|now, one| one > now, false),
            KeyCode::Char('-') => return self.pause_for(|now, one| one < now, true),
            KeyCode::Up | KeyCode::Char('k') => self.go(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go(|at, _| at + 1),
            KeyCode::PageUp => self.go(usize::saturating_sub),
            KeyCode::PageDown => self.go(|at, page| at + page),
            KeyCode::Home | KeyCode::Char('g') => self.go(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.go(|_, _| usize::MAX),
            KeyCode::Enter | KeyCode::Right => return self.open(),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => return self.back(),
            _ => {}
        }
        Step::Stay
    }

    fn asking(&mut self) -> Step {
        self.version += 1;
        Step::Ask
    }

    fn go(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let page = usize::from(self.height / 2).max(1);
        let (at, count) = match self.screen {
            Screen::Groups => (&mut self.group_at, self.rows.len()),
            Screen::Flows => {
                let count = self.flows().map_or(0, <[_]>::len);
                (&mut self.flow_at, count)
            }
            Screen::Flow => return,
        };
        *at = to(*at, page).min(count.saturating_sub(1));
    }

    fn open(&mut self) -> Step {
        match self.screen {
            Screen::Groups => {
                let Some(row) = self.rows.get(self.group_at) else {
                    return Step::Stay;
                };
                self.within = Some(row.key.clone());
                self.screen = Screen::Flows;
                self.flow_at = 0;
            }
            Screen::Flows => {
                let flows = self.flows().unwrap_or_default();
                let Some(entry) = flows.get(self.flow_at) else {
                    return Step::Stay;
                };
                self.flow = Some(entry.clone());
                self.flow_lives = true;
                self.screen = Screen::Flow;
                // The list is still right when one comes back to it.
                let step = self.asking();
                self.flow_asked = self.version;
                return step;
            }
            Screen::Flow => return Step::Stay,
        }
        let step = self.asking();
        self.opened = self.version;
        step
    }

    fn back(&mut self) -> Step {
        match self.screen {
            Screen::Groups => return Step::Stay,
            Screen::Flows => {
                self.screen = Screen::Groups;
                self.within = None;
            }
            Screen::Flow => {
                self.screen = Screen::Flows;
                self.flow = None;
            }
        }
        // Nothing new is needed for what was seen before.
        Step::Stay
    }

    fn next_sort(&mut self) -> Step {
        if self.screen == Screen::Groups {
            self.sort = next(&Sort::ALL, self.sort);
            self.rank();
            return Step::Stay;
        }
        self.order = next(&Order::ALL, self.order);
        self.asking()
    }

    fn reverse(&mut self) -> Step {
        if self.screen == Screen::Groups {
            self.sort_reversed = !self.sort_reversed;
            self.rank();
            return Step::Stay;
        }
        self.order_reversed = !self.order_reversed;
        self.asking()
    }

    /// Growth counts from the last look on.
    fn count_from_now(&mut self) {
        self.start.clone_from(&self.now);
        if let Some(look) = &self.look {
            self.since.clone_from(&look.clock);
            self.first = Some((look.entries, look.losses));
        }
        self.rank();
    }

    /// The nearest pause that is wanted; `last` where they are looked through from behind.
    fn pause_for(&mut self, wanted: fn(u64, u64) -> bool, last: bool) -> Step {
        let now = self.every.as_secs();
        let mut pauses = PAUSES.iter().copied().filter(|&one| wanted(now, one));
        let pause = if last {
            pauses.next_back()
        } else {
            pauses.next()
        };
        let Some(pause) = pause else {
            return Step::Stay;
        };
        self.every = Duration::from_secs(pause);
        self.asking()
    }

    fn edit(&mut self, purpose: Purpose) {
        let text = match purpose {
            Purpose::Filter => self.filter.clone(),
            Purpose::By => self.by.to_string(),
            Purpose::Expire => "30s".to_owned(),
        };
        self.input = Some(Input {
            purpose,
            line: Editor::new(&text),
            mistake: None,
        });
    }

    fn key_in_help(&mut self, code: KeyCode) -> Step {
        let page = self.height / 2;
        self.help = match (code, self.help) {
            (KeyCode::Up | KeyCode::Char('k'), Some(at)) => Some(at.saturating_sub(1)),
            (KeyCode::Down | KeyCode::Char('j'), Some(at)) => Some(at.saturating_add(1)),
            (KeyCode::PageUp, Some(at)) => Some(at.saturating_sub(page)),
            (KeyCode::PageDown | KeyCode::Char(' '), Some(at)) => Some(at.saturating_add(page)),
            (KeyCode::Home, _) => Some(0),
            _ => None,
        };
        Step::Stay
    }

    fn key_in_line(&mut self, key: KeyEvent) -> Step {
        match key.code {
            KeyCode::Esc => self.input = None,
            KeyCode::Enter => return self.enter(),
            _ => {
                if let Some(input) = &mut self.input {
                    input.line.key(key);
                    input.mistake = None;
                }
            }
        }
        Step::Stay
    }

    /// Takes the line, or says what is wrong with it.
    fn enter(&mut self) -> Step {
        let Some(input) = &self.input else {
            return Step::Stay;
        };
        let text = input.line.text();
        let taken = match input.purpose {
            Purpose::Expire => return self.expire_in(&text),
            Purpose::Filter => self.filter_by(&text),
            Purpose::By => match text.trim().parse() {
                Ok(by) => {
                    self.by = by;
                    Ok(())
                }
                Err(mistake) => Err(mistake.to_string()),
            },
        };
        if let Err(mistake) = taken {
            if let Some(input) = &mut self.input {
                input.mistake = Some(mistake);
            }
            return Step::Stay;
        }
        self.input = None;
        self.anew()
    }

    /// What is selected, exactly.
    fn target(&self) -> Result<Target, String> {
        let of_flow = |(flow, _): &Entry| Target::Flow {
            key: flow.key(),
            id: flow.id(),
        };
        match self.screen {
            Screen::Groups => {
                let row = self.rows.get(self.group_at).ok_or("nothing is selected")?;
                let table = self.by.table(&row.key).ok_or_else(|| {
                    format!(
                        "no filter takes just this group by {}: open it, or group by other fields",
                        self.by
                    )
                })?;
                Ok(Target::Group(FilterArgs::read(&self.filter)?.and(table)))
            }
            Screen::Flows => {
                let selected = self.flows().and_then(|flows| flows.get(self.flow_at));
                Ok(selected.map(of_flow).ok_or("nothing is selected")?)
            }
            Screen::Flow => Ok(self
                .flow
                .as_ref()
                .map(of_flow)
                .ok_or("nothing is selected")?),
        }
    }

    fn wish_for(&mut self, action: Action) -> Step {
        match self.target() {
            Ok(target) => {
                self.wish = Some((target, action));
                Step::Change
            }
            Err(refusal) => {
                self.refusal = Some(refusal);
                Step::Stay
            }
        }
    }

    fn expire_in(&mut self, text: &str) -> Step {
        let mistake = match Seconds::read(text.trim()) {
            Ok(Seconds(0)) => "what is to end at once is to be deleted: d".to_owned(),
            Ok(grace) => {
                self.input = None;
                let target = self.expiring.take();
                self.wish = target.map(|target| (target, Action::Expire { grace }));
                return Step::Change;
            }
            Err(mistake) => mistake.to_string(),
        };
        if let Some(input) = &mut self.input {
            input.mistake = Some(mistake);
        }
        Step::Stay
    }

    fn filter_by(&mut self, text: &str) -> Result<(), String> {
        let filter = FilterArgs::read(text)?;
        if filter.names_sets() && self.sets.is_none() {
            return Err(
                "there is no policy here whose sets `@name` could mean: start with --policy FILE"
                    .to_owned(),
            );
        }
        self.predicate = filter.check(self.sets.as_deref().unwrap_or_default())?;
        self.names_sets = filter.names_sets();
        text.trim().clone_into(&mut self.filter);
        Ok(())
    }

    fn next_grouping(&mut self) -> Step {
        let now = self.by.to_string();
        let at = GROUPINGS.iter().position(|one| *one == now);
        let next = at.map_or(0, |at| (at + 1) % GROUPINGS.len());
        let Ok(by) = GROUPINGS[next].parse() else {
            return Step::Stay;
        };
        self.by = by;
        self.anew()
    }

    /// Other groups are looked at: nothing is known of them yet.
    fn anew(&mut self) -> Step {
        let step = self.asking();
        (self.grouped, self.opened) = (self.version, self.version);
        (self.start, self.before, self.now) = (None, None, None);
        self.rows.clear();
        (self.group_at, self.flow_at) = (0, 0);
        (self.within, self.flow) = (None, None);
        self.screen = Screen::Groups;
        step
    }
}

fn next<T: Copy + PartialEq>(all: &[T], one: T) -> T {
    let at = all.iter().position(|known| *known == one).unwrap_or(0);
    all[(at + 1) % all.len()]
}
