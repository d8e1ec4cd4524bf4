//! Network namespaces of a test, and commands within them.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{self, Command, Output, Stdio};
use std::sync::Arc;

use conntidy::kernel::namespace::{within, within_new};

/// A program of the system. Those for networks lie where the paths of ordinary users often do not lead.
pub(crate) fn tool(name: &str) -> Command {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(name);
    command.env("PATH", path);
    command
}

/// A network namespace, which lives as long as a handle, a socket or a process in it does.
#[derive(Clone)]
pub(crate) struct Namespace {
    handle: Arc<File>,
}

impl Namespace {
    /// An empty namespace whose loopback is up.
    pub(crate) fn new() -> io::Result<Self> {
        let handle =
            within_new(|| File::open("/proc/thread-self/ns/net")).map_err(io::Error::other)??;
        let namespace = Self {
            handle: Arc::new(handle),
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// A name for `ip link ... netns NAME` and for `--netns`.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.handle.as_raw_fd())
    }

    /// Runs `task` on a thread in this namespace. Sockets made there stay of this namespace wherever
    /// they are used afterwards; children of the thread inherit it.
    pub(crate) fn enter<T: Send>(
        &self,
        task: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        within(&self.path(), task).map_err(io::Error::other)?
    }

    /// Runs a command to its end and returns what it wrote, whatever its exit status.
    pub(crate) fn output(&self, mut command: Command) -> io::Result<Output> {
        self.enter(move || command.stdin(Stdio::null()).output())
    }

    /// Runs `ip WORDS`.
    pub(crate) fn ip(&self, words: &str) -> io::Result<()> {
        let mut command = tool("ip");
        command.args(words.split_whitespace());
        self.succeed(command).map(drop)
    }

    /// Loads an nftables script.
    pub(crate) fn nft(&self, script: &str) -> io::Result<()> {
        let output = self.enter(|| {
            let mut child = tool("nft")
                .args(["-f", "-"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stdin = child.stdin.take().expect("stdin is piped");
            stdin.write_all(script.as_bytes())?;
            drop(stdin);
            child.wait_with_output()
        })?;
        check("nft", &output)
    }

    /// Runs a command and returns its standard output; any exit status but 0 is an error.
    pub(crate) fn succeed(&self, command: Command) -> io::Result<String> {
        let name = format!("{command:?}");
        let output = self.output(command)?;
        check(&name, &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a sysctl, named by its path below `/proc/sys/net`.
    pub(crate) fn set(&self, key: &str, value: u32) -> io::Result<()> {
        self.enter(|| fs::write(format!("/proc/sys/net/{key}"), value.to_string()))
    }
}

fn check(name: &str, output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "{name}: {}: {complaint}",
        output.status
    )))
}
