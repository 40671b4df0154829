//! The doors of the reference, and the claims to them.

use crate::knocks::Knock;
use crate::message::{Contact, Request};
use crate::reference::SECOND;

/// One hold on a door.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) knock: &'static str,
    /// Address of record and phone.
    pub(crate) registration: Option<(String, String)>,
    pub(crate) until: u64,
    /// Also how long it is remembered once it has run out.
    pub(crate) life: u64,
    /// The registration has ended, and the claim is there for the answers.
    pub(crate) closing: bool,
}

/// Open while one of its claims lasts, remembered while one of them is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(pub(crate) Vec<Claim>);

impl Claim {
    /// Whether it holds the door, or is remembered.
    pub(crate) fn is_known(&self, now: u64) -> bool {
        now < self.until + self.life
    }
}

impl Door {
    pub(crate) fn expires(&self) -> u64 {
        self.0.iter().map(|claim| claim.until).max().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, claim: Claim, now: u64) {
        let same = |held: &Claim| held.knock == claim.knock && held.registration == claim.registration;
        match self.0.iter_mut().find(|held| same(held) && now < held.until) {
            // A renewal never shortens.
            Some(held) if claim.until > held.until || held.closing => {
                *held = Claim { until: held.until.max(claim.until), ..claim };
            }
            Some(_) => {}
            None => {
                self.0.retain(|held| !same(held));
                self.0.push(claim);
            }
        }
    }

    pub(crate) fn end(&mut self, knock: &str, end: &End, now: u64) {
        for claim in &mut self.0 {
            let same = claim.registration.as_ref().is_some_and(|(user, phone)| {
                *user == end.user && end.phone.as_ref().is_none_or(|ended| phone == ended)
            });
            if same && claim.knock == knock && now < claim.until && !claim.closing {
                *claim = Claim {
                    until: claim.until.min(now + GRACE),
                    life: GRACE,
                    closing: true,
                    ..claim.clone()
                };
            }
        }
    }
}

/// The end of one phone's registration, or of all of a user's.
pub(crate) struct End {
    pub(crate) user: String,
    pub(crate) phone: Option<String>,
}

pub(crate) fn grant(knock: &Knock, request: Option<&Request>, now: u64) -> (Claim, Option<End>) {
    let claim = |registration, life: u64| Claim {
        knock: knock.name,
        registration,
        until: now + life * SECOND,
        life: life * SECOND,
        closing: false,
    };
    if let Some(life) = knock.life {
        return (claim(None, life), None);
    }
    let Some(request) = request.filter(|request| request.method == "REGISTER") else {
        return (claim(None, life_of(3600)), None);
    };
    let expires = request.expires.unwrap_or(3600);
    let phone = match &request.contact {
        Contact::None => String::new(),
        Contact::All => "*".to_owned(),
        Contact::One { instance: Some((urn, reg_id)), .. } => format!("{urn} {reg_id:?}"),
        Contact::One { host, instance: None } => (*host).to_owned(),
    };
    let all = request.contact == Contact::All;
    let registration = (request.user.to_owned(), phone.clone());
    if expires == 0 {
        let end = End { user: request.user.to_owned(), phone: (!all).then_some(phone) };
        let answers = Claim { closing: true, ..claim(Some(registration), GRACE / SECOND) };
        return (answers, Some(end));
    }
    (claim(Some(registration), life_of(expires)), None)
}

/// A registration's life and a tenth of it, half a minute at least, between a minute and a day.
pub(crate) fn life_of(expires: u32) -> u64 {
    let expires = u64::from(expires);
    (expires + (expires / 10).max(30)).clamp(60, 86_400)
}

/// The time that the end of a registration leaves open for its answers.
pub(crate) const GRACE: u64 = 32 * SECOND;
