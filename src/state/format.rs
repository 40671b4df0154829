//! What stands in a file of doors. All numbers are little-endian.
//!
//! | bytes | |
//! |---|---|
//! | 16 | `sipknock doors\n` and a zero |
//! | 4 | the version, 2; files of version 1 have doors only |
//! | 8, 8, 16 | when it was written: nanoseconds since 1970, since boot, and the boot's id |
//! | 1, 1 | the prefixes that make a source of an IPv4 and an IPv6 address |
//! | 4 | how many names of knocks follow, each as 2 bytes of length and UTF-8 |
//! | 69 each | the doors, each after a 1 |
//! | 43 each and 32 for each registration | the outbound doors, each after a 2 |
//! | 32 each | the marks, each after a 3 |
//! | 1, 8 | a 0, and how many doors, outbound doors and marks there were |
//! | 4 | CRC-32 (ISO-HDLC, as in Ethernet) of all before it |
//!
//! A door: its source (16), the place of its knock among the names or 2^32 - 1 where it was opened by hand (4); in nanoseconds
//! since 1970 when it was opened and last renewed (8, 8), and in nanoseconds what it has left and how long its knock opens for
//! (8, 8); packets and bytes (8, 8); flags (1): 1 where its last registration has ended, 2 where it has run out, and then what
//! it has left is how long ago that was. A file has open doors only; what goes from one process to another has both.
//!
//! An outbound door: its source (16); in nanoseconds since 1970 when it was opened and last requested (8, 8); in nanoseconds
//! for how long it is held (8); the place of its method among those that open doors (1), and how many registrations follow (2),
//! each with the hashes of its address-of-record and of two user parts (8, 8, 8) and what it has left (8). A mark: its source
//! (16), what it has left and its life (8, 8).

use std::io::{self, Read, Write};
use std::time::Duration;

use super::stamp::Stamp;
use crate::net::{Prefixes, Source};
use crate::outbound::{Binding, MAX_BINDINGS, Method};
use crate::time::Time;

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// When it was written.
    pub stamp: Stamp,
    /// What a source was then.
    pub prefixes: Prefixes,
    /// Names of knocks.
    pub names: Vec<String>,
    /// The doors.
    pub doors: Vec<Record>,
    /// The outbound doors.
    pub outbound: Vec<OutboundRecord>,
    /// The marks.
    pub marks: Vec<MarkRecord>,
}

/// An outbound door as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundRecord {
    /// The destination of the requests.
    pub source: Source,
    /// The time of the request that opened it.
    pub opened: Time,
    /// The time of the PBX's last request.
    pub requested: Time,
    /// For how long requests hold it, registrations aside.
    pub left: Duration,
    /// The method of the request that opened it.
    pub method: Method,
    /// The registrations, each with what it has left; [`MAX_BINDINGS`] at most.
    pub bindings: Vec<(Binding, Duration)>,
}

/// A mark as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The source that is to have no outbound door.
    pub source: Source,
    /// The time that it has left.
    pub left: Duration,
    /// Its life, from the closing and from each later request of the PBX.
    pub life: Duration,
}

/// A door as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub source: Source,
    /// The knock that holds it, as an index into the names; [`BY_HAND`] for none.
    pub knock: u32,
    /// When it was opened.
    pub opened: Time,
    /// When it was last renewed.
    pub last_knock: Time,
    /// How long it is still open for; how long ago it ran out, where it did.
    pub left: Duration,
    /// How long its knock opens for.
    pub life: Duration,
    /// Its last registration has ended.
    pub closing: bool,
    /// It has run out, and is remembered.
    pub ran_out: bool,
    /// Packets that it let pass.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It was never one.
    #[error("it is no file of doors")]
    Foreign,
    /// A later sipknock wrote it.
    #[error("it has version {0}, and this sipknock reads version {VERSION}")]
    Version(u32),
    /// It was one, and is broken.
    #[error("it is damaged: {0}")]
    Broken(&'static str),
    /// It can't be read.
    #[error(transparent)]
    Io(io::Error),
}

/// Writes doors one by one.
#[derive(Debug)]
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
        let mut out = Summed { inner: out, sum: Crc::default() };
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

    /// Writes a door.
    ///
    /// # Errors
    /// As writing has.
    pub fn door(&mut self, record: &Record) -> io::Result<()> {
        let [high, low] = record.source.to_bits();
        self.out.write(&[DOOR])?;
        self.out.write(&high.to_le_bytes())?;
        self.out.write(&low.to_le_bytes())?;
        self.out.write(&record.knock.to_le_bytes())?;
        for number in [
            record.opened.as_nanos(),
            record.last_knock.as_nanos(),
            nanos(record.left),
            nanos(record.life),
            record.packets,
            record.bytes,
        ] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.out.write(&[u8::from(record.closing) | u8::from(record.ran_out) << 1])?;
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
        for number in [high, low, record.opened.as_nanos(), record.requested.as_nanos(), nanos(record.left)] {
            self.out.write(&number.to_le_bytes())?;
        }
        self.out.write(&[method.and_then(|method| method.try_into().ok()).unwrap_or(NO_METHOD)])?;
        let bindings = record.bindings.get(..MAX_BINDINGS).unwrap_or(&record.bindings);
        self.out.write(&u16::try_from(bindings.len()).unwrap_or(u16::MAX).to_le_bytes())?;
        for (Binding { aor, users: [contact, user] }, left) in bindings {
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
        let sum = self.out.sum.value();
        self.out.inner.write_all(&sum.to_le_bytes())?;
        Ok(self.out.inner)
    }
}

/// Reads a whole file. Nothing of it is believed before its checksum is right.
///
/// # Errors
/// Where it is not whole, not right, or not one at all.
pub fn read(input: impl Read) -> Result<Saved, Damage> {
    let mut input = Summed { inner: input, sum: Crc::default() };
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
    let (mut doors, mut outbound, mut marks) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = DOOR;
    loop {
        let [kind] = input.bytes()?;
        if kind != END && kind < last {
            return Err(Damage::Broken("its records are not in order"));
        }
        last = kind;
        match kind {
            DOOR => doors.push(input.door()?),
            OUTBOUND if version > FIRST_VERSION => outbound.push(input.outbound()?),
            MARK if version > FIRST_VERSION => marks.push(input.mark()?),
            END => break,
            _ => return Err(Damage::Broken("a record is of no kind that there is")),
        }
    }
    if input.u64()? != (doors.len() + outbound.len() + marks.len()) as u64 {
        return Err(Damage::Broken("it does not have as many doors as it says"));
    }
    let sum = input.sum.value();
    if input.u32()? != sum {
        return Err(Damage::Broken("its checksum is wrong"));
    }
    if input.inner.read(&mut [0]).map_err(Damage::Io)? > 0 {
        return Err(Damage::Broken("it goes on behind its end"));
    }
    if doors.iter().any(|door| door.knock != BY_HAND && door.knock as usize >= names.len()) {
        return Err(Damage::Broken("a door has a knock without a name"));
    }
    Ok(Saved { stamp, prefixes: Prefixes { v4, v6 }, names, doors, outbound, marks })
}

/// Counts what passes into a checksum.
#[derive(Debug)]
struct Summed<T> {
    inner: T,
    sum: Crc,
}

impl<W: Write> Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.add(bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Summed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Damage> {
        self.inner.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::Broken("it ends too soon"),
            _ => Damage::Io(error),
        })?;
        self.sum.add(bytes);
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

    fn door(&mut self) -> Result<Record, Damage> {
        let mut record = Record {
            source: Source::from_bits([self.u64()?, self.u64()?]),
            knock: self.u32()?,
            opened: Time::from_nanos(self.u64()?),
            last_knock: Time::from_nanos(self.u64()?),
            left: Duration::from_nanos(self.u64()?),
            life: Duration::from_nanos(self.u64()?),
            packets: self.u64()?,
            bytes: self.u64()?,
            closing: false,
            ran_out: false,
        };
        let [flags @ 0..=3] = self.bytes()? else { return Err(Damage::Broken("a flag is none")) };
        (record.closing, record.ran_out) = (flags & 1 > 0, flags & 2 > 0);
        Ok(record)
    }

    fn outbound(&mut self) -> Result<OutboundRecord, Damage> {
        let mut record = OutboundRecord {
            source: Source::from_bits([self.u64()?, self.u64()?]),
            opened: Time::from_nanos(self.u64()?),
            requested: Time::from_nanos(self.u64()?),
            left: Duration::from_nanos(self.u64()?),
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
            let binding = Binding { aor: self.u64()?, users: [self.u64()?, self.u64()?] };
            record.bindings.push((binding, Duration::from_nanos(self.u64()?)));
        }
        Ok(record)
    }

    fn mark(&mut self) -> Result<MarkRecord, Damage> {
        Ok(MarkRecord {
            source: Source::from_bits([self.u64()?, self.u64()?]),
            left: Duration::from_nanos(self.u64()?),
            life: Duration::from_nanos(self.u64()?),
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

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// CRC-32 (ISO-HDLC), a byte at a time.
#[derive(Clone, Copy, Debug)]
struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.0 as u8 ^ byte) as usize;
            // The table has an entry for each byte.
            self.0 = (self.0 >> 8) ^ CRC_TABLE.get(index).copied().unwrap_or(0);
        }
    }

    fn value(self) -> u32 {
        !self.0
    }
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
}

/// Stands for the knock of a door that was opened by hand.
pub const BY_HAND: u32 = u32::MAX;

const MAGIC: &[u8; 16] = b"sipknock doors\n\0";
const VERSION: u32 = 2;
/// The one before outbound doors.
const FIRST_VERSION: u32 = 1;

/// What a record begins with.
const END: u8 = 0;
const DOOR: u8 = 1;
const OUTBOUND: u8 = 2;
const MARK: u8 = 3;

/// Stands for a method that opens no door.
const NO_METHOD: u8 = u8::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(saved: &Saved) -> Vec<u8> {
        let names = saved.names.iter().map(String::as_str);
        let mut writer = Writer::new(Vec::new(), &saved.stamp, saved.prefixes, names).unwrap();
        saved.doors.iter().for_each(|door| writer.door(door).unwrap());
        saved.outbound.iter().for_each(|door| writer.outbound(door).unwrap());
        saved.marks.iter().for_each(|mark| writer.mark(mark).unwrap());
        writer.finish().unwrap()
    }

    fn record(names: u32) -> impl Strategy<Value = Record> {
        let span = || any::<u64>().prop_map(Duration::from_nanos);
        let knock = prop_oneof![Just(BY_HAND), 0..names.max(1)];
        let knock = knock.prop_map(move |knock| if names == 0 { BY_HAND } else { knock });
        (any::<[u64; 2]>(), knock, any::<[u64; 2]>(), span(), span(), any::<[bool; 2]>(), any::<[u64; 2]>())
            .prop_map(|(source, knock, times, left, life, [closing, ran_out], counts)| Record {
                source: Source::from_bits(source),
                knock,
                opened: Time::from_nanos(times[0]),
                last_knock: Time::from_nanos(times[1]),
                left,
                life,
                closing,
                ran_out,
                packets: counts[0],
                bytes: counts[1],
            })
    }

    fn outbound() -> impl Strategy<Value = OutboundRecord> {
        let span = || any::<u64>().prop_map(Duration::from_nanos);
        let binding = (any::<u64>(), any::<[u64; 2]>(), span());
        let binding = binding.prop_map(|(aor, users, left)| (Binding { aor, users }, left));
        let method = prop_oneof![Just(Method::Other), prop::sample::select(Method::OPENING.to_vec())];
        let bindings = prop::collection::vec(binding, 0..4);
        (any::<[u64; 2]>(), any::<[u64; 2]>(), span(), method, bindings).prop_map(
            |(source, times, left, method, bindings)| OutboundRecord {
                source: Source::from_bits(source),
                opened: Time::from_nanos(times[0]),
                requested: Time::from_nanos(times[1]),
                left,
                method,
                bindings,
            },
        )
    }

    fn mark() -> impl Strategy<Value = MarkRecord> {
        any::<[u64; 4]>().prop_map(|[high, low, left, life]| MarkRecord {
            source: Source::from_bits([high, low]),
            left: Duration::from_nanos(left),
            life: Duration::from_nanos(life),
        })
    }

    fn saved() -> impl Strategy<Value = Saved> {
        let names = prop::collection::vec(".{1,20}", 0..5);
        names
            .prop_flat_map(|names| {
                let doors = prop::collection::vec(record(names.len() as u32), 0..6);
                let more = (prop::collection::vec(outbound(), 0..3), prop::collection::vec(mark(), 0..3));
                (Just(names), doors, more, any::<(u64, u64, u128)>(), any::<[u8; 2]>())
            })
            .prop_map(|(names, doors, (outbound, marks), (wall, since_boot, boot), [v4, v6])| Saved {
                stamp: Stamp {
                    wall: Time::from_nanos(wall),
                    since_boot: Duration::from_nanos(since_boot),
                    boot,
                },
                prefixes: Prefixes { v4, v6 },
                names,
                doors,
                outbound,
                marks,
            })
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        let mut crc = Crc::default();
        crc.add(b"123456789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }

    #[test]
    fn what_is_no_file_of_doors_is_told_so() {
        assert!(matches!(read(&b""[..]), Err(Damage::Foreign)));
        assert!(matches!(read(&b"[inspect]\nports = [5060]\n"[..]), Err(Damage::Foreign)));
        let later = [&MAGIC[..], &3u32.to_le_bytes(), b"whatever"].concat();
        assert!(matches!(read(&*later), Err(Damage::Version(3))));
        assert!(matches!(read(&*[&MAGIC[..], &[0; 4]].concat()), Err(Damage::Version(0))));
    }

    /// The same bytes as another version, with the checksum that they then have.
    fn as_version(file: &[u8], version: u32) -> Vec<u8> {
        let mut file = file[..file.len() - 4].to_vec();
        file[16..20].copy_from_slice(&version.to_le_bytes());
        let mut crc = Crc::default();
        crc.add(&file);
        file.extend(crc.value().to_le_bytes());
        file
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn survives_the_round_trip(saved in saved()) {
            prop_assert_eq!(read(&*write(&saved)).unwrap(), saved);
        }

        #[test]
        fn files_of_the_first_version_are_read(saved in saved()) {
            let only_doors = Saved { outbound: Vec::new(), marks: Vec::new(), ..saved.clone() };
            prop_assert_eq!(read(&*as_version(&write(&only_doors), 1)).unwrap(), only_doors);
            let has_more = !saved.outbound.is_empty() || !saved.marks.is_empty();
            prop_assert_eq!(read(&*as_version(&write(&saved), 1)).is_err(), has_more);
        }

        #[test]
        fn damage_at_every_byte_is_noticed(saved in saved(), flip in 1u8..) {
            let whole = write(&saved);
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                prop_assert!(read(&*damaged).is_err(), "byte {} of {}", at, whole.len());
                prop_assert!(read(&whole[..at]).is_err(), "cut at {} of {}", at, whole.len());
            }
            let mut longer = whole;
            longer.push(0);
            prop_assert!(read(&*longer).is_err());
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), valid_start in any::<bool>()) {
            let mut file = if valid_start { [&MAGIC[..], &VERSION.to_le_bytes()].concat() } else { Vec::new() };
            file.extend(bytes);
            let _ = read(&*file);
        }
    }
}
