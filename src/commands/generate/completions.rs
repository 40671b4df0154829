//! Shell completions: those of clap, with names of knocks behind `--knock` and chains behind `--chain`, which the hidden
//! command `sipknock complete` prints.

use std::fmt::Write as _;

use clap_complete::Shell;

/// Flags whose values are looked up, and the word of `sipknock complete` for each.
const LOOKED_UP: [(&str, &str); 2] = [("knock", "knocks"), ("chain", "chains")];

/// The script of a shell with these values in it.
pub(super) fn with_values(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => bash(script),
        Shell::Zsh => zsh(script),
        Shell::Fish => fish(script),
        _ => script.to_owned(),
    }
}

/// The line behind `--knock)` offers files.
fn bash(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    let mut word = None;
    for line in script.lines() {
        let files = line.trim_start().starts_with("COMPREPLY=($(compgen -f ");
        match word.take().filter(|_| files) {
            Some(word) => {
                let indent = line.len() - line.trim_start().len();
                // A name may have spaces in it.
                let _ = writeln!(
                    out,
                    "{:indent$}local IFS=$'\\n'; COMPREPLY=($(compgen -W \"$(sipknock complete {word} 2>/dev/null)\" -- \"${{cur}}\"))",
                    ""
                );
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
        let flag = |(flag, _): &&(&str, &str)| line.trim() == format!("--{flag})");
        word = LOOKED_UP.iter().find(flag).map(|(_, word)| *word);
    }
    out
}

/// A flag's line ends in the name of its value and `_default`.
fn zsh(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    for line in script.lines() {
        let found = LOOKED_UP
            .iter()
            .find(|(flag, _)| line.trim_start_matches(['\'', '*']).starts_with(&format!("--{flag}=[")));
        match (found, line.strip_suffix(":_default' \\")) {
            (Some((_, word)), Some(rest)) => {
                let _ = writeln!(out, "{rest}:_sipknock_{word}' \\");
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    // The last lines call the function of the whole script.
    let mut functions = String::new();
    for (_, word) in LOOKED_UP {
        let _ = writeln!(
            functions,
            "(( $+functions[_sipknock_{word}] )) ||\n_sipknock_{word}() {{\n    local -a names\n    \
             names=(\"${{(@f)$(sipknock complete {word} 2>/dev/null)}}\")\n    compadd -a names\n}}\n"
        );
    }
    let end = out.rfind("if [ \"$funcstack[1]\"").unwrap_or(out.len());
    out.insert_str(end, &functions);
    out
}

fn fish(script: &str) -> String {
    let mut out = String::with_capacity(script.len());
    for line in script.lines() {
        out.push_str(line);
        if let Some((_, word)) = LOOKED_UP.iter().find(|(flag, _)| line.contains(&format!(" -l {flag} "))) {
            let _ = write!(out, " -f -a \"(sipknock complete {word} 2>/dev/null)\"");
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn values_are_looked_up_in_every_shell() {
        for (shell, wanted) in [
            (Shell::Bash, "compgen -W \"$(sipknock complete"),
            (Shell::Zsh, ":_sipknock_"),
            (Shell::Fish, "-f -a \"(sipknock complete"),
        ] {
            let mut plain = Vec::new();
            clap_complete::generate(shell, &mut Cli::definition(), "sipknock", &mut plain);
            let script = with_values(shell, &String::from_utf8(plain).unwrap());
            for (flag, word) in LOOKED_UP {
                let at = |line: &&str| line.contains(wanted) && line.contains(word);
                assert!(script.lines().filter(at).count() > 3, "{shell}: --{flag}");
            }
            if shell == Shell::Zsh {
                assert!(script.contains("\n_sipknock_knocks() {"), "the function is there");
            }
        }
    }
}
