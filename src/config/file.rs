//! The TOML file: unknown keys refused, every value checked where it stands.

mod include;
mod reader;
mod tables;
mod typed;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::{Spanned, Value};

use super::draft::{Draft, DraftKnock};
use super::guard::{self, SecretFile};
use crate::config::error::ConfigError;
use crate::config::firewall::{FirewallBackend, FirewallRules};
use crate::config::place::{ConfigNote, Place};
use crate::config::sections::{
    ControlSection, HttpSection, InspectSection, ProcessSection, QueueSection, Seccomp, StateSection,
};
use crate::config::values;
use crate::firewall::{DEFAULT_PARENT, Family};
use crate::inspect::{Bounds, Mode, Renew};
use crate::knock::{Extent, Part, Secret};
use crate::queue::Backend;
use reader::{Field, Reader, list, number, one_of, text_of};
use tables::{
    ControlTable, File, FirewallTable, HttpTable, InspectTable, KnockFile, KnockTable, ProcessTable,
    QueueTable, StateTable,
};
use typed::{boolean, fallback, items, ports, transports, trusted_names};

/// Reads a file's text into a draft with the defaults filled in, and the files that it includes. `this` is how the file
/// itself is kept.
pub(super) fn read(text: &str, path: &Path, this: Option<SecretFile>) -> Result<Draft, ConfigError> {
    let mut reader = Reader::new(text, path, this);
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => {
            // The rest of the file is read as if knocks had their right headers, so that all errors are told at once.
            let (mended, mut errors) = reader.mend_headers();
            if errors.is_empty() || !reader.is_at_header(&error) {
                return Err(reader.syntax(&error));
            }
            if let Err(others) = read(&mended, path, None) {
                errors.extend(others.into_each());
            }
            return Err(ConfigError::all(errors).unwrap_or_else(|| reader.syntax(&error)));
        }
    };
    let included = reader.included(file.include);
    let inspect = reader.inspect(file.inspect);
    let queue = reader.queue(file.queue);
    let (firewall, chains_place) = reader.firewall(file.firewall);
    let control = reader.control(file.control);
    let state = reader.state(file.state);
    let http = reader.http(file.http);
    let process = reader.process(file.process);
    let mut knocks = reader.knocks(file.knock);
    let trusted_names = std::mem::take(&mut reader.trusted_names);
    let Reader { mut files, mut notes, errors, .. } = reader;
    let mut errors = ConfigError::sorted(errors.into_inner());
    for path in included.paths {
        match read_included(&path, &included.place) {
            Ok(more) => {
                knocks.extend(more.knocks);
                files.extend(more.files);
                notes.extend(more.notes);
            }
            Err(error) => errors.extend(error.into_each()),
        }
    }
    if let Some(error) = ConfigError::all(errors) {
        return Err(error);
    }
    Ok(Draft {
        inspect,
        trusted_names,
        queue,
        firewall,
        chains_place,
        control,
        state,
        http,
        process,
        knocks,
        files,
        include_folders: included.folders,
        notes,
        flagged: false,
    })
}

/// Knocks of a file that is included.
struct IncludedKnocks {
    knocks: Vec<DraftKnock>,
    files: Vec<SecretFile>,
    notes: Vec<ConfigNote>,
}

/// Reads an included file. `place` is where it is named.
fn read_included(path: &Path, place: &Place) -> Result<IncludedKnocks, ConfigError> {
    let (text, this) = guard::read(path).map_err(|error| ConfigError::Value {
        place: place.clone(),
        text: format!("{}: {error}", path.display()),
    })?;
    let mut reader = Reader::new(&text, path, Some(this));
    let file: KnockFile = match toml::from_str(&text) {
        Ok(file) => file,
        Err(error) => return Err(reader.syntax(&error)),
    };
    let knocks = reader.knocks(file.knock);
    let Reader { files, notes, errors, .. } = reader;
    match ConfigError::all(ConfigError::sorted(errors.into_inner())) {
        Some(error) => Err(error),
        None => Ok(IncludedKnocks { knocks, files, notes }),
    }
}

/// Files that `include` names.
#[derive(Default)]
struct Included {
    paths: Vec<PathBuf>,
    /// The folders in which a pattern finds files.
    folders: Vec<PathBuf>,
    place: Place,
}

impl Reader<'_> {
    /// The files that `include` names, and the folders in which there may be more later.
    fn included(&self, field: Field) -> Included {
        let Some(field) = field else { return Included::default() };
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut included = Included { place: self.place(field.span(), "include"), ..Included::default() };
        let read = self.value("include", &field, |value| {
            for pattern in list(value)? {
                let pattern = text_of(pattern)?;
                let paths = include::files_of(folder, pattern)?;
                if pattern.contains('*') {
                    included.folders.extend(folder.join(pattern).parent().map(Path::to_owned));
                }
                for path in paths {
                    if !included.paths.contains(&path) {
                        included.paths.push(path);
                    }
                }
            }
            Ok(())
        });
        self.keep(read);
        included
    }

    fn knocks(&mut self, tables: Vec<Spanned<KnockTable>>) -> Vec<DraftKnock> {
        let numbered = tables.into_iter().enumerate();
        numbered.filter_map(|(index, table)| self.knock(index + 1, table)).collect()
    }

    fn inspect(&mut self, table: InspectTable) -> InspectSection {
        let mut inspect = InspectSection::default();
        self.set(&mut inspect.scope.ports, "inspect.ports", table.ports, ports);
        self.set(&mut inspect.scope.transports, "inspect.transports", table.transports, transports);
        self.set(&mut inspect.door, "inspect.door", table.door, |value| {
            text_of(value).and_then(values::life)
        });
        if let Some(field) = table.trusted {
            inspect.trusted = self.networks("inspect.trusted", &field);
        }
        if let Some(field) = table.trusted_names {
            let names = self.value("inspect.trusted_names", &field, trusted_names);
            self.trusted_names = self.keep(names).unwrap_or_default();
            inspect
                .trusted
                .extend(self.trusted_names.iter().flat_map(|name| &name.addresses).copied().map(IpNet::from));
        }
        self.set(&mut inspect.mode, "inspect.mode", table.mode, |value| {
            one_of(value, &[("enforce", Mode::Enforce), ("monitor", Mode::Monitor)])
        });
        self.set(&mut inspect.renew, "inspect.renew", table.renew, |value| {
            one_of(value, &[("knock", Renew::Knock), ("packet", Renew::Packet)])
        });
        self.set(&mut inspect.prefixes.v4, "inspect.ipv4_prefix", table.ipv4_prefix, |value| {
            number(value, 0, 32)
        });
        self.set(&mut inspect.prefixes.v6, "inspect.ipv6_prefix", table.ipv6_prefix, |value| {
            number(value, 0, 128)
        });
        if let Some(field) = table.nat64 {
            inspect.nat64 = self.translators("inspect.nat64", &field);
        }
        self.set(&mut inspect.max_doors, "inspect.max_doors", table.max_doors, |value| {
            number(value, 1, MAX_DOORS)
        });
        self.registrations(&mut inspect.registrations, table.expires_min, table.expires_max);
        let streams = &mut inspect.streams;
        self.set(&mut streams.bytes, "inspect.partial_bytes", table.partial_bytes, |value| {
            let bytes = match value {
                Value::Integer(number) => values::size(&number.to_string()),
                other => text_of(other).and_then(values::size),
            }?;
            let possible = (LEAST_PARTIAL..=MOST_PARTIAL).contains(&bytes);
            possible.then_some(bytes).ok_or_else(|| {
                format!(
                    "{bytes} bytes: write a size from {LEAST_PARTIAL} bytes to {}KiB",
                    MOST_PARTIAL / 1024
                )
            })
        });
        self.set(&mut streams.segments, "inspect.partial_segments", table.partial_segments, |value| {
            number(value, 1, 1024)
        });
        self.set(&mut streams.flows, "inspect.max_flows", table.max_flows, |value| {
            number(value, 64, 1_000_000)
        });
        let span = table.grace.as_ref().map_or(0..0, Spanned::span);
        self.set(&mut inspect.grace, "inspect.grace", table.grace, |value| match text_of(value)? {
            "0s" => Ok(Duration::ZERO),
            text => values::grace(text),
        });
        if inspect.grace > Duration::ZERO && inspect.mode == Mode::Monitor {
            let text = "it ends with strangers dropped, and mode = \"monitor\" drops none".to_owned();
            self.notes.push(ConfigNote { place: self.place(span, "inspect.grace"), text });
        }
        for (prefix, least, key) in [
            (inspect.prefixes.v4, WIDE_IPV4, "inspect.ipv4_prefix"),
            (inspect.prefixes.v6, WIDE_IPV6, "inspect.ipv6_prefix"),
        ] {
            if prefix < least {
                let text = format!("one knock opens for a whole /{prefix}, strangers included");
                let place = Place { file: Some(self.path.to_owned()), line: None, key: key.to_owned() };
                self.notes.push(ConfigNote { place, text });
            }
        }
        inspect
    }

    /// Networks of IPv6 translators.
    fn translators(&mut self, key: &str, field: &Spanned<Value>) -> Vec<IpNet> {
        let nets = self.networks(key, field);
        if let Some(net) = nets.iter().find(|net| matches!(net, IpNet::V4(_))) {
            let text = format!(
                "{net} is of IPv4, in which ipv4_prefix makes each address a source: write the IPv6 prefixes of \
                 translators, as \
                 in [\"64:ff9b::/96\"]"
            );
            let error = self.error(field.span(), key, text);
            self.errors.get_mut().push(error);
        } else if let Some(net) = nets.iter().find(|net| net.prefix_len() < WIDE_NAT64) {
            let text = format!(
                "{net} is wider than any translator's (RFC 6052: /32 to /96): a phone there whose address changes within its \
                 network has to knock again"
            );
            self.notes.push(ConfigNote { place: self.place(field.span(), key), text });
        }
        nets
    }

    fn registrations(&self, bounds: &mut Bounds, min: Field, max: Field) {
        let wrong = self.wrong();
        let span = |value: &Value| text_of(value).and_then(values::duration);
        let place = max.as_ref().or(min.as_ref()).map_or(0..0, Spanned::span);
        self.set(&mut bounds.min, "inspect.expires_min", min, span);
        self.set(&mut bounds.max, "inspect.expires_max", max, span);
        if bounds.min > bounds.max && self.wrong() == wrong {
            let text = format!(
                "the shortest life of a door, {}, is more than the longest, {}: make expires_min the smaller one",
                humantime::format_duration(bounds.min),
                humantime::format_duration(bounds.max)
            );
            let error = self.error(place, "inspect.expires_max", text);
            self.errors.borrow_mut().push(error);
        }
    }

    fn queue(&mut self, table: QueueTable) -> QueueSection {
        let mut queue = QueueSection::default();
        self.set(&mut queue.numbers, "queue.numbers", table.numbers, |value| match value {
            Value::Integer(number) => values::queues(&number.to_string()),
            other => text_of(other).and_then(values::queues),
        });
        self.set(&mut queue.backend, "queue.backend", table.backend, |value| {
            text_of(value).and_then(values::backend)
        });
        self.set(&mut queue.max_len, "queue.max_len", table.max_len, |value| {
            number(value, 1, i64::from(u32::MAX))
        });
        self.set(
            &mut queue.receive_buffer,
            "queue.receive_buffer",
            table.receive_buffer,
            |value| match value {
                Value::Integer(number) => values::size(&number.to_string()),
                other => text_of(other).and_then(values::size),
            },
        );
        self.set(&mut queue.on_overload, "queue.on_overload", table.on_overload, fallback);
        self.set(&mut queue.on_exit, "queue.on_exit", table.on_exit, fallback);
        let span = table.busy_poll.as_ref().map_or(0..0, Spanned::span);
        self.set(&mut queue.busy_poll, "queue.busy_poll", table.busy_poll, |value| {
            text_of(value).and_then(values::busy_poll)
        });
        if queue.backend == Backend::Nfq && queue.busy_poll > Duration::ZERO {
            let text = "the nfq backend ignores it: it is for \"batched\"".to_owned();
            self.notes.push(ConfigNote { place: self.place(span, "queue.busy_poll"), text });
        }
        queue
    }

    /// Returns the place of the chains as well: flags are applied later, and may make an error of them.
    fn firewall(&mut self, table: FirewallTable) -> (FirewallRules, Place) {
        let mut rules = FirewallRules::default();
        let span = table.chains.as_ref().map_or(0..0, Spanned::span);
        let place = self.place(span, "firewall.chains");
        self.set(&mut rules.backend, "firewall.backend", table.backend, |value| match text_of(value)? {
            "nft" => {
                Err("this version writes rules by iptables alone, and has no table of its own in nft: write \
                          \"auto\" or \"iptables\""
                    .to_owned())
            }
            _ => one_of(value, &[("auto", FirewallBackend::Auto), ("iptables", FirewallBackend::Iptables)]),
        });
        self.set(&mut rules.chains, "firewall.chains", table.chains, |value| {
            items(value, "no chain at all: write them as in [\"INPUT\"]", values::chain)
        });
        if let Some(field) = table.pbx {
            let entries = self.value("firewall.pbx", &field, |value| {
                list(value)?.iter().map(|item| text_of(item).and_then(values::pbx)).collect()
            });
            rules.pbx = values::PbxEntry::collect(self.keep(entries).unwrap_or_default());
            if rules.chains == [DEFAULT_PARENT] && !rules.pbx.is_empty() {
                let text = "it is for a PBX behind this machine, and `chains` names none that packets to such a one pass"
                    .to_owned();
                self.notes.push(ConfigNote { place: self.place(field.span(), "firewall.pbx"), text });
            }
        }
        self.set(&mut rules.families, "firewall.families", table.families, |value| {
            let known = [("ipv4", Family::V4), ("ipv6", Family::V6)];
            let families =
                list(value)?.iter().map(|item| one_of(item, &known)).collect::<Result<Vec<_>, _>>()?;
            match families.is_empty() {
                true => Err("no family at all: write them as in [\"ipv4\", \"ipv6\"]".to_owned()),
                false => Ok(Family::ALL.into_iter().filter(|family| families.contains(family)).collect()),
            }
        });
        self.set(&mut rules.keep, "firewall.keep", table.keep, boolean);
        self.set(&mut rules.outbound, "firewall.outbound", table.outbound, |value| {
            text_of(value).and_then(values::outbound)
        });
        self.set(&mut rules.outbound_ports, "firewall.outbound_ports", table.outbound_ports, |value| {
            if list(value)?.is_empty() { Ok(Vec::new()) } else { ports(value) }
        });
        self.set(&mut rules.max_outbound, "firewall.max_outbound", table.max_outbound, |value| {
            number(value, 1, MAX_DOORS)
        });
        (rules, place)
    }

    fn control(&self, table: ControlTable) -> ControlSection {
        let mut control = ControlSection::default();
        self.set(&mut control.socket, "control.socket", table.socket, |value| {
            text_of(value).map(values::place)
        });
        control
    }

    fn state(&self, table: StateTable) -> StateSection {
        let mut state = StateSection::default();
        self.set(&mut state.file, "state.file", table.file, |value| text_of(value).map(values::place));
        state
    }

    fn http(&self, table: HttpTable) -> HttpSection {
        let mut http = HttpSection::default();
        self.set(&mut http.listen, "http.listen", table.listen, |value| {
            text_of(value).and_then(values::listen)
        });
        self.set(&mut http.hosts, "http.hosts", table.hosts, |value| {
            list(value)?.iter().map(|item| text_of(item).and_then(values::host)).collect()
        });
        http
    }

    fn process(&self, table: ProcessTable) -> ProcessSection {
        let mut process = ProcessSection { user_named: table.user.is_some(), ..ProcessSection::default() };
        self.set(&mut process.user, "process.user", table.user, |value| {
            text_of(value).and_then(values::user)
        });
        self.set(&mut process.seccomp, "process.seccomp", table.seccomp, |value| {
            one_of(value, &[("deny", Seccomp::Deny), ("kill", Seccomp::Kill), ("off", Seccomp::Off)])
        });
        self.set(&mut process.landlock, "process.landlock", table.landlock, boolean);
        process
    }

    /// `number_in_file` counts from 1, as people do. `None` if a value is wrong.
    fn knock(&mut self, number_in_file: usize, table: Spanned<KnockTable>) -> Option<DraftKnock> {
        let span = table.span();
        let table = table.into_inner();
        let key = format!("knock {number_in_file}");
        let below = |name: &str| format!("{key}.{name}");
        let wrong = self.wrong();
        let name = match &table.name {
            Some(field) => {
                self.value(&below("name"), field, |value| text_of(value).and_then(values::knock_name))
            }
            None => values::knock_name("").map_err(|text| self.error(span.clone(), &below("name"), text)),
        };
        let name = self.keep(name);
        let secret = self.secret(&below("secret"), span.clone(), table.secret, table.secret_file);
        let secret = self.keep(secret);
        let mut part = Part::default();
        let is_part = self.wrong();
        self.set(&mut part, &below("in"), table.within, |value| text_of(value).and_then(Part::parse));
        let is_part = self.wrong() == is_part;
        let mut extent = Extent::default();
        // A `match` is held against a part that is known.
        self.set(&mut extent, &below("match"), table.extent.filter(|_| is_part), |value| {
            text_of(value).and_then(|text| Extent::parse(text, &part))
        });
        let typed = |secret: &Secret| match extent {
            Extent::Within => part.secret(secret.expose()),
            // White space at the ends of a part is none of it.
            Extent::Whole => part.secret(secret.expose().trim_ascii()),
        };
        let sought = secret.and_then(|secret| {
            typed(&secret).and_then(Secret::new).or_else(|| {
                let text = format!("nothing is left of this secret to look for in {part}");
                self.keep(Err(self.error(span.clone(), &below("secret"), text)))
            })
        });
        let mut draft = DraftKnock {
            place: self.place(span, &key),
            name: name.unwrap_or_default(),
            secret: sought?,
            ignore_case: part.ignores_case(),
            part,
            extent,
            methods: Vec::new(),
            sources: None,
            door: None,
            max_doors: None,
        };
        self.set(&mut draft.methods, &below("methods"), table.methods, |value| {
            list(value)?.iter().map(|item| text_of(item).and_then(values::method)).collect()
        });
        let by_part = draft.ignore_case;
        self.set(&mut draft.ignore_case, &below("ignore_case"), table.ignore_case, |value| {
            Ok(boolean(value)? || by_part)
        });
        self.set(&mut draft.door, &below("door"), table.door, |value| {
            text_of(value).and_then(values::life).map(Some)
        });
        if let Some(field) = table.sources {
            draft.sources = Some(self.networks(&below("sources"), &field));
        }
        self.set(&mut draft.max_doors, &below("max_doors"), table.max_doors, |value| {
            number(value, 1, MAX_DOORS).map(Some)
        });
        (self.wrong() == wrong).then_some(draft)
    }

    fn secret(
        &mut self,
        key: &str,
        knock: Range<usize>,
        secret: Field,
        file: Field,
    ) -> Result<Secret, ConfigError> {
        match (secret, file) {
            (Some(field), None) => {
                if let Some(this) = self.files.first_mut() {
                    this.holds_secrets = true;
                }
                self.value(key, &field, |value| {
                    text_of(value).and_then(|text| values::secret(text.as_bytes()))
                })
            }
            (None, Some(field)) => {
                let key = format!("{key}_file");
                let (secret, file) = self.value(&key, &field, |value| self.read_secret(text_of(value)?))?;
                self.files.push(SecretFile { place: self.place(field.span(), &key), ..file });
                Ok(secret)
            }
            (Some(field), Some(_)) => Err(self.error(
                field.span(),
                key,
                "both secret and secret_file are given: keep one".to_owned(),
            )),
            (None, None) => Err(self.error(
                knock,
                key,
                "a knock needs a secret, or a secret_file that holds it".to_owned(),
            )),
        }
    }

    /// Reads a file that holds a secret. The line end that an editor puts behind it does not belong to it.
    fn read_secret(&self, name: &str) -> Result<(Secret, SecretFile), String> {
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let (bytes, mut file) = guard::read_bytes(&path).map_err(|error| say(&error))?;
        file.holds_secrets = true;
        let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let secret = values::secret(line.strip_suffix(b"\r").unwrap_or(line));
        Ok((secret.map_err(|error| say(&error))?, file))
    }

    fn networks(&mut self, key: &str, field: &Spanned<Value>) -> Vec<IpNet> {
        let nets = self.value(key, field, |value| {
            list(value)?.iter().map(|item| text_of(item).and_then(values::network)).collect()
        });
        let nets: Vec<IpNet> = self.keep(nets).unwrap_or_default();
        for net in &nets {
            if net.addr() != net.network() {
                let text = format!("{net} has bits beyond its prefix length and means {}", net.trunc());
                self.notes.push(ConfigNote { place: self.place(field.span(), key), text });
            }
        }
        nets
    }
}

/// At some 100 bytes each this is more memory than a gate should ever be given.
const MAX_DOORS: i64 = 100_000_000;

/// Less than this is no REGISTER, more is no header block, and each segment has all before it searched again.
const LEAST_PARTIAL: usize = 256;
const MOST_PARTIAL: usize = 64 * 1024;

/// Prefixes shorter than these are more than one provider gives a customer.
const WIDE_IPV4: u8 = 24;
const WIDE_IPV6: u8 = 48;

/// The shortest prefix of a translator (RFC 6052, 2.2).
const WIDE_NAT64: u8 = 32;
