//! Users and groups of this machine, as /etc/passwd and /etc/group list them. Services have theirs there; asking the name
//! service switch would load libraries into the process that is to be confined.

use std::fs;

/// A user of passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

impl User {
    /// A user by name or number; `None` if there is none.
    pub fn find(wanted: &str) -> Option<Self> {
        Self::find_in(&read("passwd"), wanted)
    }

    fn find_in(passwd: &str, wanted: &str) -> Option<Self> {
        let (name, uid, gid) = entries(passwd).find(|(name, uid, _)| [*name, *uid].contains(&wanted))?;
        Some(Self { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid?.parse().ok()? })
    }
}

/// The number of a group by its name; `None` if there is none.
pub fn group_number(wanted: &str) -> Option<u32> {
    entries(&read("group")).find(|(name, ..)| *name == wanted)?.1.parse().ok()
}

fn read(file: &str) -> String {
    fs::read_to_string(format!("/etc/{file}")).unwrap_or_default()
}

/// Name, number and, of a user, the number of its group.
fn entries(text: &str) -> impl Iterator<Item = (&str, &str, Option<&str>)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?, fields.next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n# note\nsipknock:x:998:997:a:/:/usr/sbin/nologin\nodd:x:y:1::\n";
        let user = |name: &str, uid, gid| Some(User { name: name.to_owned(), uid, gid });
        for (wanted, expected) in [
            ("sipknock", user("sipknock", 998, 997)),
            ("998", user("sipknock", 998, 997)),
            ("root", user("root", 0, 0)),
            ("sip", None),
            ("odd", None),
            ("x", None),
            ("", None),
            ("997", None),
        ] {
            assert_eq!(User::find_in(passwd, wanted), expected, "{wanted}");
        }
    }

    #[test]
    fn the_group_of_root_is_found() {
        assert_eq!(group_number("root"), Some(0));
        assert_eq!(group_number("no such group"), None);
    }
}
