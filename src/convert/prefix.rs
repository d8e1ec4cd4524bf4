//! What stands before a command and leaves it what it is: `sudo -n`, variables, the user of a crontab.

/// Commands that run another one as it stands.
const RUNNING: [&str; 9] = [
    "sudo", "doas", "exec", "command", "env", "nice", "ionice", "timeout", "time",
];

/// Options of [`RUNNING`] that have an argument.
const WITH_ARGUMENT: [&str; 6] = ["-u", "-g", "-n", "-c", "-s", "-k"];

/// Commands that run another one somewhere else: no names of users.
const ELSEWHERE: [&str; 4] = ["ssh", "docker", "podman", "chroot"];

/// `NAME=value`.
pub(super) fn is_variable(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Takes away what stands before a command: the user of a crontab, variables, `sudo` and the like
/// with their options. What it does not know it leaves there.
pub(super) fn unwrap(words: &mut Vec<String>, is_timed: bool) {
    let runs = |word: &String| {
        let program = word.rsplit('/').next().unwrap_or_default();
        is_variable(word) || RUNNING.contains(&program)
    };
    let is_user = |word: &String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        word.bytes().all(is_plain) && !ELSEWHERE.contains(&word.as_str()) && !runs(word)
    };
    let of_user = |word: &String| {
        let program = word.rsplit('/').next().unwrap_or_default();
        runs(word) || ["conntrack", "sysctl", "echo", "sh", "bash", "ip"].contains(&program)
    };
    let is_of_user =
        is_timed && words.first().is_some_and(is_user) && words.get(1).is_some_and(of_user);
    let mut at = usize::from(is_of_user);
    while words.get(at).is_some_and(runs) {
        let is_program = !is_variable(&words[at]);
        at += 1;
        while is_program && let Some(word) = words.get(at) {
            let is_number = word.starts_with(|first: char| first.is_ascii_digit());
            if WITH_ARGUMENT.contains(&word.as_str())
                && words
                    .get(at + 1)
                    .is_some_and(|next| !next.starts_with('-') && !of_user(next))
            {
                at += 2;
            } else if is_number || word.starts_with('-') {
                at += 1;
            } else {
                break;
            }
        }
    }
    if at < words.len() {
        words.drain(..at);
    }
}
