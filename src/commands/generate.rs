//! `sipknock generate`: man pages and completions, from the one definition of the command line.

mod completions;
mod config_page;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::{Generator as _, Shell};

use super::failure::{Failure, WorkError};
use crate::cli::{Cli, GenerateArgs};

pub(super) fn run(args: &GenerateArgs) -> Result<ExitCode, Failure> {
    let write = || -> std::io::Result<()> {
        let (man, completions) = (args.folder.join("man"), args.folder.join("completions"));
        fs::create_dir_all(&man)?;
        fs::create_dir_all(&completions)?;
        let mut definition = Cli::definition();
        definition.build();
        man_pages(&definition, &man)?;
        fs::write(man.join("sipknock.toml.5"), config_page::render(EXAMPLE))?;
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::definition(), "sipknock", &mut script);
            let script = completions::with_values(shell, &String::from_utf8_lossy(&script));
            fs::write(completions.join(shell.file_name("sipknock")), script)?;
        }
        Ok(())
    };
    write()
        .map_err(|error| Failure::Work(WorkError::Other(format!("{}: {error}", args.folder.display()))))?;
    Ok(ExitCode::SUCCESS)
}

/// A page for the program, and one for each command below it, as in sipknock-firewall-apply(8).
fn man_pages(definition: &clap::Command, folder: &Path) -> std::io::Result<()> {
    let name = definition.get_display_name().unwrap_or(definition.get_name()).to_owned();
    let page = clap_mangen::Man::new(definition.clone()).title(name.to_uppercase()).section("8").date("");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let is_program = !name.contains('-');
    text.extend_from_slice(if is_program { FILES } else { b"" });
    text.extend_from_slice(SEE_ALSO);
    if is_program {
        text.extend_from_slice(b",\n.BR iptables (8)\n");
    } else {
        text.extend_from_slice(b",\n.BR sipknock (8)\n");
    }
    fs::write(folder.join(format!("{name}.8")), text)?;
    definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .try_for_each(|command| man_pages(command, folder))
}

/// The annotated configuration, of which sipknock.toml(5) is made.
const EXAMPLE: &str = include_str!("../../dist/sipknock.toml");

const SEE_ALSO: &[u8] = b".SH \"SEE ALSO\"\n.BR sipknock.toml (5)";

/// The defaults of `[control]` and `[state]`, among others.
const FILES: &[u8] = b".SH FILES
.TP
.I /etc/sipknock/sipknock.toml
The configuration, unless \\fB\\-\\-config\\fR names another one: sipknock.toml(5).
.TP
.I /etc/sipknock/knocks.d/
Files of knocks that it includes.
.TP
.I /var/lib/sipknock/doors
Doors, kept over a restart and a reboot.
.TP
.I /run/sipknock/control.sock
The socket through which the running gate is reached.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_PATH;
    use crate::control::DEFAULT_SOCKET;
    use crate::state::DEFAULT_FILE;

    #[test]
    fn pages_name_the_default_paths() {
        let files = String::from_utf8_lossy(FILES);
        for path in [DEFAULT_PATH, DEFAULT_SOCKET, DEFAULT_FILE] {
            assert!(files.contains(path), "{path}");
        }
        assert!(Cli::definition().render_help().to_string().contains(DEFAULT_PATH));
    }
}
