//! `top` on a terminal of its own.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use conntidy::flow::Protocol;
use libtest_mimic::Failed;

use crate::fixture;
use crate::flows::{self, flow};
use crate::gateway::Gateway;

crate::trials!(
    the_terminal_is_given_back_on_q,
    the_terminal_is_given_back_on_a_signal,
    groups_are_opened_and_filters_typed,
    while_it_is_paused_what_is_asked_for_is_looked_for,
    a_group_is_deleted_once_somebody_agrees_and_can_be_put_back,
    without_a_terminal_it_says_what_to_do_instead,
);

/// Enters and leaves the alternate screen.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
/// What a program shows first that is still there after `top`.
const BACK: &str = "terminal:";

/// A shell on a terminal of 80x24 that runs `top`, and then shows how the terminal is set.
struct Terminal {
    child: Child,
    input: ChildStdin,
    bytes: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    fn start(gateway: &Gateway, arguments: &str) -> Result<Self, Failed> {
        let program = env!("CARGO_BIN_EXE_conntidy");
        let line = format!(
            "stty rows 24 cols 80; stty -g; {program} --color never top {arguments}; \
             echo code $?; echo {BACK} $(stty -g)"
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .current_dir(gateway.path())
            .env("SHELL", "/bin/sh")
            .env("STATE_DIRECTORY", gateway.state_root())
            .env("TERM", "xterm-256color")
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut out = child.stdout.take().ok_or("no output")?;
        let input = child.stdin.take().ok_or("no input")?;
        let (sender, bytes) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            input,
            bytes,
            shown: String::new(),
        })
    }

    /// Reads until a text was shown.
    fn until(&mut self, text: &str) -> Result<(), Failed> {
        let began = Instant::now();
        while !self.shown.contains(text) {
            let left = Duration::from_secs(60).saturating_sub(began.elapsed());
            let Ok(bytes) = self.bytes.recv_timeout(left) else {
                return Err(format!("{text:?} did not come: {}", self.shown.escape_debug()).into());
            };
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        Ok(())
    }

    /// Has everything drawn again until a text is on the screen: else only changes are drawn.
    fn sees(&mut self, text: &str) -> Result<(), Failed> {
        let began = Instant::now();
        while !self.shown.contains(text) {
            if began.elapsed() > Duration::from_secs(60) {
                return Err(format!("{text:?} is not there: {}", self.shown.escape_debug()).into());
            }
            self.types("\x0c")?;
            let drawn = Instant::now();
            while drawn.elapsed() < Duration::from_secs(1) && !self.shown.contains(text) {
                if let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(100)) {
                    self.shown.push_str(&String::from_utf8_lossy(&bytes));
                }
            }
        }
        Ok(())
    }

    /// Forgets what was shown and types.
    fn types(&mut self, keys: &str) -> Result<(), Failed> {
        self.shown.clear();
        Ok(self.input.write_all(keys.as_bytes())?)
    }

    /// The process of `top`: a child of the shell that `script` started.
    fn top(&self) -> Result<String, Failed> {
        let shell = fixture::run("pgrep", &["-P", &self.child.id().to_string()])?;
        let top = fixture::run("pgrep", &["-P", shell.trim()])?;
        Ok(top.trim().to_owned())
    }

    /// Fails unless the terminal is as it was before, and tells the exit code.
    fn given_back(mut self) -> Result<String, Failed> {
        self.until(BACK)?;
        self.child.wait()?;
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_secs(5)) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        let (_, after) = self
            .shown
            .split_once(LEAVE)
            .ok_or("the screen was not left")?;
        assert!(after.contains("\x1b[?25h"), "no cursor: {after:?}");
        assert!(!after.contains(ENTER), "{after:?}");
        let (_, code) = after.split_once("code ").ok_or("no code")?;
        Ok(code
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    }
}

impl Drop for Terminal {
    /// A test that failed leaves nothing behind: the end of its terminal ends what runs on it.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How the terminal was set at first and at the end.
fn settings(shown: &str) -> (Option<String>, Option<String>) {
    let first = shown.split_whitespace().next().map(str::to_owned);
    let last = shown.split_once(BACK);
    let last = last.and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_owned));
    (first, last)
}

fn table() -> Result<Gateway, Failed> {
    flows::create([
        &flow(Protocol::UDP, "10.0.0.1:1", "192.0.2.1:53"),
        &flow(Protocol::UDP, "10.0.0.1:2", "192.0.2.1:53"),
        &flow(Protocol::UDP, "10.0.0.2:3", "192.0.2.1:123"),
    ])?;
    Gateway::new()
}

fn the_terminal_is_given_back_on_q() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = table()?;
    let mut terminal = Terminal::start(&gateway, "")?;
    terminal.until("2 groups by src")?;
    let before = std::mem::take(&mut terminal.shown);
    terminal.input.write_all(b"q")?;
    terminal.until(BACK)?;
    terminal.until("\n")?;
    let (first, _) = settings(&before);
    let (_, last) = settings(&terminal.shown);
    assert!(first.is_some() && first == last, "{first:?} {last:?}");
    assert_eq!(terminal.given_back()?, "0");
    Ok(())
}

fn the_terminal_is_given_back_on_a_signal() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = table()?;
    for (signal, code) in [("TERM", "143"), ("HUP", "129")] {
        let mut terminal = Terminal::start(&gateway, "--by dport")?;
        terminal.until("2 groups by dport")?;
        let top = terminal.top()?;
        fixture::run("kill", &["-s", signal, &top])?;
        assert_eq!(terminal.given_back()?, code, "{signal}");
    }
    Ok(())
}

fn groups_are_opened_and_filters_typed() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = table()?;
    let mut terminal = Terminal::start(&gateway, "--by src -p udp")?;
    terminal.until("2 groups by src")?;
    terminal.types("\r")?;
    terminal.sees("2 flows of src 10.0.0.1")?;
    terminal.sees("10.0.0.1:2")?;
    terminal.types("\r")?;
    // Spaces are not drawn on an empty screen: one word that only the details have.
    terminal.sees("seen-reply")?;
    terminal.types("/ --dport 12x\r")?;
    terminal.sees("is no number")?;
    terminal.types("\x7f3\r")?;
    terminal.sees("1 group by src")?;
    terminal.types("q")?;
    assert_eq!(terminal.given_back()?, "0");
    Ok(())
}

fn while_it_is_paused_what_is_asked_for_is_looked_for() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = table()?;
    let mut terminal = Terminal::start(&gateway, "")?;
    terminal.until("2 groups by src")?;
    terminal.types("p")?;
    terminal.sees("PAUSED")?;
    terminal.types("/--dport 123\r")?;
    terminal.sees("1 group by src")?;
    terminal.types("q")?;
    assert_eq!(terminal.given_back()?, "0");
    Ok(())
}

fn a_group_is_deleted_once_somebody_agrees_and_can_be_put_back() -> Result<(), Failed> {
    crate::needs!("script");
    let gateway = table()?;
    let mut terminal = Terminal::start(&gateway, "--by src,dport")?;
    terminal.until("2 groups by src,dport")?;
    // The first group is that of two flows.
    for (answer, left) in [("n", 3), ("y", 1)] {
        terminal.types("d")?;
        terminal.until("Delete 2 flows? [y/N]")?;
        assert!(terminal.shown.contains(LEAVE), "{}", terminal.shown);
        terminal.types(&format!("{answer}\r"))?;
        terminal.until("Enter goes back to the view.")?;
        assert_eq!(fixture::keys()?.len(), left);
        terminal.types("\r")?;
        terminal.until(ENTER)?;
    }
    terminal.sees("1 group by src,dport")?;
    terminal.types("q")?;
    assert_eq!(terminal.given_back()?, "0");
    gateway.run(&["undo"])?.exits(0)?;
    assert_eq!(fixture::keys()?.len(), 3);
    Ok(())
}

fn without_a_terminal_it_says_what_to_do_instead() -> Result<(), Failed> {
    let ran = table()?.run(&["top"])?.exits(64)?;
    assert!(ran.err.contains("stdout is no terminal"), "{}", ran.err);
    assert!(ran.err.contains("count --by src --watch"), "{}", ran.err);
    Ok(())
}
