//! `sipknock generate`: man pages and completions, from the one definition of the command line.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;

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
        for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
            clap_complete::generate_to(shell, &mut Cli::definition(), "sipknock", &completions)?;
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
    fs::write(folder.join(format!("{name}.8")), text)?;
    definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
        .try_for_each(|command| man_pages(command, folder))
}
