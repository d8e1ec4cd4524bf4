//! `conntidy completions`: what a shell needs to complete this command line.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::cli::complete::VARIABLE;
use crate::cli::{CliError, Outcome};

/// Arguments of `conntidy completions`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
    source <(conntidy completions bash)                                     in this shell\n  \
    conntidy completions bash > /etc/bash_completion.d/conntidy             for everybody\n  \
    conntidy completions zsh  > /usr/local/share/zsh/site-functions/_conntidy\n  \
    conntidy completions fish > ~/.config/fish/completions/conntidy.fish\n\n\
The script asks `conntidy`, which has to be in the PATH: so it also knows rules, sets and snapshots.")]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// The program by its name: the script of a package outlives the place where it was made.
const PROGRAM: &str = "conntidy";

/// A file in zsh's `fpath` is run at the first completion, which it has to answer itself.
const AUTOLOADED: &str = "\
if [[ \"$funcstack[1]\" == _conntidy ]]; then
    _clap_dynamic_completer_conntidy \"$@\"
fi
";

/// Prints the script on stdout.
pub(super) fn run(args: &CompletionsArgs) -> Result<Outcome, CliError> {
    let name = args.shell.to_string();
    let shell = Shells::builtins();
    let shell = shell
        .completer(&name)
        .ok_or_else(|| CliError::usage(format!("no script is made for {name}")))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    if args.shell == Shell::Zsh {
        script.extend_from_slice(AUTOLOADED.as_bytes());
    }
    std::io::stdout().lock().write_all(&script)?;
    Ok(Outcome::default())
}
