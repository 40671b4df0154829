//! The knocks of the trials, and when they count.

use std::net::IpAddr;

use crate::message::{
    AGENT, ANYWHERE, Contact, DISPLAY, Message, OTHER_URN, URN, WHOLE_AGENT, WHOLE_DISPLAY,
};

/// A knock's condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Anywhere,
    Display,
    Instance,
    Agent,
}

#[derive(Clone, Debug)]
pub(crate) struct Knock {
    pub(crate) name: &'static str,
    pub(crate) secret: &'static str,
    pub(crate) part: Part,
    /// The part is the secret, and nothing else.
    pub(crate) whole: bool,
    pub(crate) ignore_case: bool,
    /// Only in a REGISTER.
    pub(crate) register_only: bool,
    /// Only from 203.0.113.0/24.
    pub(crate) office_only: bool,
    /// Seconds; `None`: the registration's own life.
    pub(crate) life: Option<u64>,
    pub(crate) max_doors: Option<u32>,
}

/// All knocks that a configuration may have.
pub(crate) fn palette() -> Vec<Knock> {
    let knock = |name, secret, part, life| Knock {
        name,
        secret,
        part,
        whole: false,
        ignore_case: false,
        register_only: false,
        office_only: false,
        life,
        max_doors: None,
    };
    vec![
        knock("anywhere", ANYWHERE, Part::Anywhere, Some(100)),
        Knock { max_doors: Some(2), ..knock("inside", "kn0ckstr", Part::Anywhere, Some(40)) },
        Knock { register_only: true, ..knock("display", DISPLAY, Part::Display, Some(60)) },
        knock("instance", URN, Part::Instance, None),
        Knock {
            ignore_case: true,
            office_only: true,
            max_doors: Some(1),
            ..knock("agent", AGENT, Part::Agent, Some(300))
        },
        Knock { whole: true, ..knock("whole-display", WHOLE_DISPLAY, Part::Display, None) },
        Knock { whole: true, ..knock("whole-instance", OTHER_URN, Part::Instance, Some(80)) },
        Knock { whole: true, ..knock("whole-agent", WHOLE_AGENT, Part::Agent, Some(50)) },
    ]
}

pub(crate) fn counts(knock: &Knock, from: IpAddr, message: &Message) -> bool {
    if knock.office_only && !is_office(from) {
        return false;
    }
    let request = message.request();
    if knock.register_only && request.is_none_or(|request| request.method != "REGISTER") {
        return false;
    }
    let holds = |text: &str| {
        let (text, secret) = match knock.ignore_case || knock.part == Part::Instance {
            true => (text.to_ascii_lowercase(), knock.secret.to_ascii_lowercase()),
            false => (text.to_owned(), knock.secret.to_owned()),
        };
        if knock.whole { text.trim() == secret } else { text.contains(&secret) }
    };
    match knock.part {
        Part::Anywhere => {
            message.text().windows(knock.secret.len()).any(|window| window == knock.secret.as_bytes())
        }
        Part::Display => request.and_then(|request| request.display).is_some_and(holds),
        // Of several values each has to be the secret, if nothing else may stand there.
        Part::Agent => request.is_some_and(|request| {
            let mut agents = [request.agent].into_iter().chain(request.second_agent);
            if knock.whole { agents.all(holds) } else { agents.any(holds) }
        }),
        Part::Instance => request.is_some_and(|request| match &request.contact {
            Contact::One { instance: Some((urn, _)), .. } => holds(urn),
            _ => false,
        }),
    }
}

fn is_office(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.octets()[..3] == [203, 0, 113])
}
