//! The terminal that output goes to: its width, and whether colours are wanted there.

use std::io::{self, IsTerminal};

use comfy_table::{ContentArrangement, Table};
use rustix::termios::tcgetwinsize;

/// Whether output to a stream is to have colours: on a terminal, unless NO_COLOR is set to something (no-color.org).
pub(crate) fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A text in a colour, by its number (ECMA-48, SGR).
pub(crate) fn coloured(text: &str, colour: u8) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

/// Has a table on standard output fit the terminal: longer cells become several lines. Elsewhere lines stay whole.
pub(crate) fn fit(table: &mut Table) {
    let out = io::stdout();
    if out.is_terminal()
        && let Ok(size) = tcgetwinsize(&out)
    {
        fit_width(table, size.ws_col);
    }
}

/// A terminal without a size says 0.
fn fit_width(table: &mut Table, columns: u16) {
    if columns >= NARROWEST {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
}

/// Below that a table can't be read, however it is cut.
const NARROWEST: u16 = 20;

/// Colours of SGR.
pub(crate) const RED: u8 = 31;
pub(crate) const GREEN: u8 = 32;
pub(crate) const YELLOW: u8 = 33;
pub(crate) const CYAN: u8 = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit() {
        let table = |columns| {
            let mut table = Table::new();
            table.load_style(comfy_table::presets::NOTHING).set_header(["phone", "strength"]);
            table.add_row([
                "alice@pbx.example",
                "strong: long and random, and nobody else sends it, which is good",
            ]);
            fit_width(&mut table, columns);
            table.lines().map(|line| line.trim_end().chars().count()).max().unwrap()
        };
        assert!(table(0) > 60);
        for columns in [20, 40, 60] {
            assert!(table(columns) <= usize::from(columns), "{columns}");
        }
    }
}
