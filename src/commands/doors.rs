//! `sipknock doors`

use std::cmp::Ordering;
use std::io::{self, IsTerminal as _, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table};
use ipnet::IpNet;

use super::failure::{Failure, WorkError, write_json};
use super::remote::{ask, counted, moment, report, span};
use crate::cli::{Cli, DoorsAction, DoorsArgs, ListArgs, OpenArgs, SortBy};
use crate::control::client::ClientError;
use crate::control::protocol::{ControlRequest, DoorLine, Reply};
use crate::terminal;

pub(super) fn run(cli: &Cli, args: &DoorsArgs) -> Result<ExitCode, Failure> {
    match &args.action {
        None => list(cli, &args.list),
        Some(DoorsAction::List(args)) => list(cli, args),
        Some(DoorsAction::Open(args)) => open(cli, args),
        Some(DoorsAction::Close(args)) => {
            let request = ControlRequest::Close { address: args.address.clone(), mark: args.mark };
            let done = ask(cli, &args.gate, &request, |_| Ok(()))?;
            let text = match done.doors {
                Some(0) => format!("no door was open for {}", args.address),
                _ => format!("the door of {} is closed", args.address),
            };
            report(&done, args.json, &text)
        }
        Some(DoorsAction::Flush(args)) => {
            if !args.yes && io::stdin().is_terminal() && !agreed()? {
                return Err(Failure::Work(WorkError::Other("nothing was closed".to_owned())));
            }
            let done = ask(cli, &args.gate, &ControlRequest::Flush {}, |_| Ok(()))?;
            let doors = done.doors.unwrap_or(0);
            report(&done, args.json, &format!("{} closed", counted(doors, "door")))
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// Whether somebody at a terminal wants all doors closed.
fn agreed() -> io::Result<bool> {
    let mut err = io::stderr();
    write!(err, "This closes the doors of all phones, until each knocks again. Type yes to do it: ")?;
    err.flush()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(matches!(line.trim(), "yes" | "y" | "YES"))
}

fn list(cli: &Cli, args: &ListArgs) -> Result<(), Failure> {
    let request = ControlRequest::Doors {
        knock: args.knock.clone(),
        source: args.source.map(|source| source.to_string()),
    };
    let mut doors = Vec::new();
    ask(cli, &args.gate, &request, |answer| {
        doors.extend(door(answer));
        Ok(())
    })?;
    sort(&mut doors, args.sort);
    if args.json {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for door in &doors {
            serde_json::to_writer(&mut out, door).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        return Ok(out.flush()?);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header([
        "source",
        "knock",
        "opened",
        "last knock",
        "expires in",
        "packets",
        "bytes",
    ]);
    terminal::fit(&mut table);
    for door in &doors {
        table.add_row([
            door.source.clone(),
            door.knock.clone(),
            moment(&door.opened),
            moment(&door.last_knock),
            span(door.expires_in_s),
            door.packets.to_string(),
            door.bytes.to_string(),
        ]);
        // The others that hold it, each with the time that it has left.
        for other in door.knocks.iter().skip(1) {
            let none = String::new;
            table.add_row([none(), other.knock.clone(), none(), none(), span(other.expires_in_s)]);
        }
    }
    for column in [5, 6] {
        if let Some(numbers) = table.column_mut(column) {
            numbers.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = io::stdout().lock();
    match doors.len() {
        0 => writeln!(out, "no door is open")?,
        _ => table.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))?,
    }
    Ok(())
}

fn open(cli: &Cli, args: &OpenArgs) -> Result<(), Failure> {
    let request = ControlRequest::Open {
        address: args.address.clone(),
        // A part of a second is one.
        for_s: args.life.map(|life| life.as_secs() + u64::from(life.subsec_nanos() > 0)),
        knock: args.knock.clone(),
    };
    let mut opened = None;
    let done = ask(cli, &args.gate, &request, |answer| {
        opened = door(answer).or(opened.take());
        Ok(())
    });
    let done = done.map_err(|failure| match failure {
        // The gate knows how long the prefix of a source is.
        Failure::Work(WorkError::Control(ClientError::Refused(text))) if several(&args.address) => {
            Failure::Work(WorkError::Other(format!(
                "{text}; to let a network pass without a knock put it into `trusted` of [inspect], and run 'sipknock reload'"
            )))
        }
        failure => failure,
    })?;
    match (&opened, args.json) {
        (Some(door), true) => write_json(door),
        (Some(door), false) => {
            let what = done.event.as_deref().unwrap_or("opened");
            let (source, knock) = (&door.source, &door.knock);
            let until = moment(&door.expires);
            report(
                &done,
                false,
                &format!("{what}: {source} ({knock}) until {until}, for {}", span(door.expires_in_s)),
            )
        }
        (None, json) => report(&done, json, "opened"),
    }
}

/// Whether it is a network of more than one address.
fn several(text: &str) -> bool {
    text.parse::<IpNet>().is_ok_and(|net| net.prefix_len() < net.max_prefix_len())
}

fn door(answer: Reply) -> Option<DoorLine> {
    match answer {
        Reply::Door(door) => Some(door),
        _ => None,
    }
}

/// Sorts by a column, and by address where it is equal. RFC 3339 in one form sorts as time does.
fn sort(doors: &mut [DoorLine], by: SortBy) {
    doors.sort_by_cached_key(|door| address(&door.source));
    // One sort for all columns: each closure would be 8 kB of code of its own.
    let order: fn(&DoorLine, &DoorLine) -> Ordering = match by {
        SortBy::Source => return,
        SortBy::Knock => |a, b| a.knock.cmp(&b.knock),
        SortBy::Opened => |a, b| a.opened.cmp(&b.opened),
        SortBy::LastKnock => |a, b| a.last_knock.cmp(&b.last_knock),
        SortBy::Expires => |a, b| a.expires.cmp(&b.expires),
        SortBy::Packets => |a, b| b.packets.cmp(&a.packets),
        SortBy::Bytes => |a, b| b.bytes.cmp(&a.bytes),
    };
    doors.sort_by(order);
}

fn address(source: &str) -> Option<IpNet> {
    source.parse().ok().or_else(|| source.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_as_asked() {
        let door = |source: &str, knock: &str, packets, expires: &str| DoorLine {
            source: source.to_owned(),
            knock: knock.to_owned(),
            knocks: Vec::new(),
            opened: String::new(),
            last_knock: String::new(),
            expires: expires.to_owned(),
            expires_in_s: 0,
            packets,
            bytes: packets,
            method: None,
            request: None,
        };
        let mut doors = [
            door("198.51.100.10", "b", 1, "2026-11-22T14:00:02.000000Z"),
            door("2001:db8::/64", "a", 5, "2026-11-22T14:00:03.000000Z"),
            door("198.51.100.9", "a", 5, "2026-11-22T14:00:01.000000Z"),
        ];
        for (by, expected) in [
            (SortBy::Source, ["198.51.100.9", "198.51.100.10", "2001:db8::/64"]),
            (SortBy::Knock, ["198.51.100.9", "2001:db8::/64", "198.51.100.10"]),
            (SortBy::Packets, ["198.51.100.9", "2001:db8::/64", "198.51.100.10"]),
            (SortBy::Expires, ["198.51.100.9", "198.51.100.10", "2001:db8::/64"]),
        ] {
            sort(&mut doors, by);
            assert_eq!(doors.each_ref().map(|door| door.source.as_str()), expected, "{by:?}");
        }
    }
}
