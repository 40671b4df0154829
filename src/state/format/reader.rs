//! Reading a file of doors.

use std::io::{self, Read};
use std::time::Duration;

use super::damage::Damage;
use super::layout::{
    CLAIM, CLOSING, DOOR, END, FIRST_VERSION, IDENTITIES, MAGIC, MARK, NO_METHOD, OUTBOUND, OUTBOUND_BY_WALL,
    RAN_OUT, REGISTERED, VERSION,
};
use super::record::{BY_HAND, ClaimRecord, DoorRecord, MarkRecord, OutboundRecord, Saved};
use super::sum::Summed;
use crate::door::{MAX_CLAIMS, RegistrationId};
use crate::inspect::Identities;
use crate::net::{Prefixes, Source};
use crate::outbound::{ContactBinding, MAX_BINDINGS, Method};
use crate::state::stamp::Stamp;
use crate::time::Time;

/// Reads a whole file. Nothing of it is believed before its checksum is right.
///
/// # Errors
/// Where it is not whole, not right, or not one at all.
pub fn read(input: impl Read) -> Result<Saved, Damage> {
    let mut input = Summed::new(input);
    if &input.bytes::<16>().map_err(foreign)? != MAGIC {
        return Err(Damage::Foreign);
    }
    let version = input.u32()?;
    if !(FIRST_VERSION..=VERSION).contains(&version) {
        return Err(Damage::Version(version));
    }
    let stamp = Stamp {
        wall: Time::from_nanos(input.u64()?),
        since_boot: Duration::from_nanos(input.u64()?),
        boot: u128::from_le_bytes(input.bytes()?),
    };
    let [v4, v6] = input.bytes()?;
    let mut names = Vec::new();
    for _ in 0..input.u32()? {
        let length = u16::from_le_bytes(input.bytes()?);
        let mut name = vec![0; length.into()];
        input.fill(&mut name)?;
        names.push(String::from_utf8(name).map_err(|_| Damage::Broken("a name is not UTF-8"))?);
    }
    let prefixes = Prefixes { v4, v6 };
    let (doors, outbound, marks) = Default::default();
    let mut saved = Saved { stamp, prefixes, names, identities: None, doors, outbound, marks };
    let records = input.records(version, &mut saved)?;
    if input.u64()? != records {
        return Err(Damage::Broken("it does not have as many doors as it says"));
    }
    let sum = input.sum();
    if input.u32()? != sum {
        return Err(Damage::Broken("its checksum is wrong"));
    }
    if input.inner.read(&mut [0]).map_err(Damage::Io)? > 0 {
        return Err(Damage::Broken("it continues behind its end"));
    }
    let names = saved.names.len();
    let is_nameless = |claim: &ClaimRecord| claim.knock != BY_HAND && claim.knock as usize >= names;
    if saved.doors.iter().any(|door| door.claims.iter().chain([&door.claim]).any(is_nameless)) {
        return Err(Damage::Broken("a door has a knock without a name"));
    }
    Ok(saved)
}

impl<R: Read> Summed<R> {
    /// All records, and how many there were.
    fn records(&mut self, version: u32, saved: &mut Saved) -> Result<u64, Damage> {
        let (mut records, mut last) = (0, 0);
        loop {
            let [kind] = self.bytes()?;
            let order = match kind {
                END => return Ok(records),
                IDENTITIES if version > FIRST_VERSION => 1,
                CLAIM if version > FIRST_VERSION => 2,
                DOOR => 2,
                OUTBOUND_BY_WALL | OUTBOUND if version > FIRST_VERSION => 3,
                MARK if version > FIRST_VERSION => 4,
                _ => return Err(Damage::Broken("a record is of no kind that there is")),
            };
            if order < last {
                return Err(Damage::Broken("its records are not in order"));
            }
            last = order;
            records += 1;
            match kind {
                IDENTITIES if saved.identities.is_none() => {
                    saved.identities = Some(self.identities(saved.names.len())?);
                }
                IDENTITIES => return Err(Damage::Broken("it has two lists of identities")),
                DOOR => saved.doors.push(self.door()?),
                CLAIM => {
                    let claim = self.claim()?;
                    let door = saved.doors.last_mut().filter(|door| door.claims.len() < MAX_CLAIMS);
                    door.ok_or(Damage::Broken("a claim has no door"))?.claims.push(claim);
                }
                OUTBOUND => saved.outbound.push(self.outbound(Duration::from_nanos)?),
                OUTBOUND_BY_WALL => {
                    let wall = saved.stamp.wall;
                    saved.outbound.push(self.outbound(|time| wall.since(Time::from_nanos(time)))?);
                }
                _ => saved.marks.push(self.mark()?),
            }
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Damage> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::Broken("it ends too soon"),
            _ => Damage::Io(error),
        })?;
        self.sum.update(bytes);
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn span(&mut self) -> Result<Duration, Damage> {
        Ok(Duration::from_nanos(self.u64()?))
    }

    fn identities(&mut self, names: usize) -> Result<Identities, Damage> {
        let salt = self.bytes()?;
        let digests = (0..names).map(|_| self.u32()).collect::<Result<_, _>>()?;
        Ok(Identities { salt, digests })
    }

    fn door(&mut self) -> Result<DoorRecord, Damage> {
        let source = Source::from_bits([self.u64()?, self.u64()?]);
        let knock = self.u32()?;
        let (opened, last_knock) = (Time::from_nanos(self.u64()?), Time::from_nanos(self.u64()?));
        let (left, life) = (self.span()?, self.span()?);
        let (packets, bytes) = (self.u64()?, self.u64()?);
        let [flags] = self.bytes()?;
        if flags & !(CLOSING | RAN_OUT) != 0 {
            return Err(Damage::Broken("a flag is none"));
        }
        let (closing, ran_out) = (flags & CLOSING > 0, flags & RAN_OUT > 0);
        let claim = ClaimRecord { knock, registration: None, left, life, closing, ran_out };
        Ok(DoorRecord { source, opened, last_knock, packets, bytes, claim, claims: Vec::new() })
    }

    fn claim(&mut self) -> Result<ClaimRecord, Damage> {
        let knock = self.u32()?;
        let registration = RegistrationId { user: self.u64()?, phone: self.u64()? };
        let (left, life) = (self.span()?, self.span()?);
        let [flags] = self.bytes()?;
        if flags & !(CLOSING | RAN_OUT | REGISTERED) != 0 {
            return Err(Damage::Broken("a flag is none"));
        }
        let is_registered = flags & REGISTERED > 0;
        if !is_registered && registration != (RegistrationId { user: 0, phone: 0 }) {
            return Err(Damage::Broken("a claim has half a registration"));
        }
        let (closing, ran_out) = (flags & CLOSING > 0, flags & RAN_OUT > 0);
        let registration = is_registered.then_some(registration);
        Ok(ClaimRecord { knock, registration, left, life, closing, ran_out })
    }

    /// An outbound door, whose last request was so long ago as `ago` makes of the number.
    fn outbound(&mut self, ago: impl Fn(u64) -> Duration) -> Result<OutboundRecord, Damage> {
        let mut record = OutboundRecord {
            source: Source::from_bits([self.u64()?, self.u64()?]),
            opened: Time::from_nanos(self.u64()?),
            requested: ago(self.u64()?),
            left: self.span()?,
            method: Method::Other,
            bindings: Vec::new(),
        };
        let [method] = self.bytes()?;
        if method != NO_METHOD {
            let known = Method::OPENING.get(usize::from(method)).copied();
            record.method = known.ok_or(Damage::Broken("a method is none"))?;
        }
        let bindings = u16::from_le_bytes(self.bytes()?);
        if usize::from(bindings) > MAX_BINDINGS {
            return Err(Damage::Broken("a door has too many registrations"));
        }
        for _ in 0..bindings {
            let binding = ContactBinding { aor: self.u64()?, users: [self.u64()?, self.u64()?] };
            record.bindings.push((binding, self.span()?));
        }
        Ok(record)
    }

    fn mark(&mut self) -> Result<MarkRecord, Damage> {
        Ok(MarkRecord {
            source: Source::from_bits([self.u64()?, self.u64()?]),
            left: self.span()?,
            life: self.span()?,
        })
    }
}

/// A file that is shorter than its first words is no file of doors.
fn foreign(damage: Damage) -> Damage {
    match damage {
        Damage::Broken(_) => Damage::Foreign,
        other => other,
    }
}
