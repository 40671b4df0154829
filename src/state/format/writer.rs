//! Writing a file of doors.

use std::io::{self, Write};
use std::time::Duration;

use super::layout::{
    CLAIM, CLOSING, DOOR, END, IDENTITIES, MAGIC, MARK, NO_METHOD, OUTBOUND, RAN_OUT, REGISTERED, VERSION,
};
use super::record::{ClaimRecord, DoorRecord, MarkRecord, OutboundRecord};
use super::sum::Summed;
use crate::door::{MAX_CLAIMS, RegistrationId};
use crate::inspect::Identities;
use crate::net::Prefixes;
use crate::outbound::{ContactBinding, MAX_BINDINGS, Method};
use crate::state::stamp::Stamp;

/// Writes doors one by one.
pub struct Writer<W> {
    out: Summed<W>,
    records: u64,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// As writing has.
    pub fn new<'a>(
        out: W,
        stamp: &Stamp,
        prefixes: Prefixes,
        names: impl ExactSizeIterator<Item = &'a str>,
    ) -> io::Result<Self> {
        let mut out = Summed::new(out);
        out.write(MAGIC)?;
        out.write(&VERSION.to_le_bytes())?;
        out.write(&stamp.wall.as_nanos().to_le_bytes())?;
        out.write(&nanos(stamp.since_boot).to_le_bytes())?;
        out.write(&stamp.boot.to_le_bytes())?;
        out.write(&[prefixes.v4, prefixes.v6])?;
        out.write(&u32::try_from(names.len()).unwrap_or(u32::MAX).to_le_bytes())?;
        for name in names {
            // A name has 64 characters at most.
            out.write(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes())?;
            out.write(name.as_bytes())?;
        }
        Ok(Self { out, records: 0 })
    }

    /// Writes what else the knocks are told by, before any door.
    ///
    /// # Errors
    /// As writing has.
    pub fn identities(&mut self, identities: &Identities) -> io::Result<()> {
        self.out.write(&[IDENTITIES])?;
        self.out.write(&identities.salt)?;
        for digest in &identities.digests {
            self.out.write(&digest.to_le_bytes())?;
        }
        self.records += 1;
        Ok(())
    }

    /// Writes a door and its claims.
    ///
    /// # Errors
    /// As writing has.
    pub fn door(&mut self, record: &DoorRecord) -> io::Result<()> {
        let [high, low] = record.source.to_bits();
        let ClaimRecord { knock, left, life, closing, ran_out, registration: _ } = record.claim;
        self.out.write(&[DOOR])?;
        self.out.write(&high.to_le_bytes())?;
        self.out.write(&low.to_le_bytes())?;
        self.out.write(&knock.to_le_bytes())?;
        for number in [
            record.opened.as_nanos(),
            record.last_knock.as_nanos(),
            nanos(left),
            nanos(life),
            record.packets,
            record.bytes,
        ] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.out.write(&[flags(closing, ran_out, false)])?;
        self.records += 1;
        record.claims.iter().take(MAX_CLAIMS).try_for_each(|claim| self.claim(claim))
    }

    fn claim(&mut self, claim: &ClaimRecord) -> io::Result<()> {
        let ClaimRecord { knock, registration, left, life, closing, ran_out } = *claim;
        let RegistrationId { user, phone } = registration.unwrap_or(RegistrationId { user: 0, phone: 0 });
        self.out.write(&[CLAIM])?;
        self.out.write(&knock.to_le_bytes())?;
        for number in [user, phone, nanos(left), nanos(life)] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.out.write(&[flags(closing, ran_out, registration.is_some())])?;
        self.records += 1;
        Ok(())
    }

    /// Writes an outbound door.
    ///
    /// # Errors
    /// As writing has.
    pub fn outbound(&mut self, record: &OutboundRecord) -> io::Result<()> {
        let [high, low] = record.source.to_bits();
        let method = Method::OPENING.iter().position(|method| *method == record.method);
        self.out.write(&[OUTBOUND])?;
        for number in [high, low, record.opened.as_nanos(), nanos(record.requested), nanos(record.left)] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.out.write(&[method.and_then(|method| method.try_into().ok()).unwrap_or(NO_METHOD)])?;
        let bindings = record.bindings.get(..MAX_BINDINGS).unwrap_or(&record.bindings);
        self.out.write(&u16::try_from(bindings.len()).unwrap_or(u16::MAX).to_le_bytes())?;
        for (ContactBinding { aor, users: [contact, user] }, left) in bindings {
            for number in [*aor, *contact, *user, nanos(*left)] {
                self.out.write(&number.to_le_bytes())?;
            }
        }
        self.records += 1;
        Ok(())
    }

    /// Writes a mark.
    ///
    /// # Errors
    /// As writing has.
    pub fn mark(&mut self, record: &MarkRecord) -> io::Result<()> {
        let [high, low] = record.source.to_bits();
        self.out.write(&[MARK])?;
        for number in [high, low, nanos(record.left), nanos(record.life)] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.records += 1;
        Ok(())
    }

    /// Ends, and gives back what it was written to.
    ///
    /// # Errors
    /// As writing has.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write(&[END])?;
        self.out.write(&self.records.to_le_bytes())?;
        let sum = self.out.sum();
        self.out.inner.write_all(&sum.to_le_bytes())?;
        Ok(self.out.inner)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn flags(closing: bool, ran_out: bool, registered: bool) -> u8 {
    let flag = |set, flag| if set { flag } else { 0 };
    flag(closing, CLOSING) | flag(ran_out, RAN_OUT) | flag(registered, REGISTERED)
}

impl<W: Write> Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.inner.write_all(bytes)
    }
}
