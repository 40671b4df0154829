//! A list of phones: one knock for each.

/// A phone of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneLine {
    /// The line, counted from 1.
    pub line: usize,
    /// The name of its knock.
    pub name: String,
    /// The text that it sends already; `None`: a secret is to be made for it.
    pub secret: Option<String>,
}

/// Reads lines `name` or `name,secret`, separated by commas or semicolons, with or without quotes. A first line that begins
/// with `name`, empty lines and lines that begin with `#` are left out.
///
/// # Errors
/// On a name that no knock can have, with its line.
pub fn parse(text: &str) -> Result<Vec<PhoneLine>, String> {
    let mut phones: Vec<PhoneLine> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start_matches('\u{feff}').trim();
        let mut fields = fields(line).into_iter();
        let first = fields.next().unwrap_or_default();
        let is_header =
            phones.is_empty() && ["name", "phone", "extension"].contains(&&*first.to_ascii_lowercase());
        if line.is_empty() || line.starts_with('#') || is_header {
            continue;
        }
        let number = index + 1;
        let name =
            crate::config::values::knock_name(&first).map_err(|text| format!("line {number}: {text}"))?;
        if let Some(other) = phones.iter().find(|phone| phone.name == name) {
            return Err(format!(
                "line {number}: the name {name:?} is in line {} already: each phone needs its own",
                other.line
            ));
        }
        let secret = fields.next().filter(|secret| !secret.is_empty());
        phones.push(PhoneLine { line: number, name, secret });
    }
    if phones.is_empty() {
        return Err(
            "no phone is in it: write a line for each, as in 'alice-desk' or 'alice-desk,secret'".to_owned()
        );
    }
    Ok(phones)
}

/// The fields of a line (RFC 4180, without line ends inside quotes).
fn fields(line: &str) -> Vec<String> {
    let separator = if line.contains(';') && !line.contains(',') { ';' } else { ',' };
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' => quoted = !quoted,
            _ if letter == separator && !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(letter),
        }
    }
    fields.push(field);
    fields.iter().map(|field| field.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_read() {
        let text = "\u{feff}name,secret\n# ours\nalice,abc\n\n\"Bob, desk\",\"x\"\"y\"\ncarol\n";
        let found = parse(text).unwrap();
        let shown: Vec<_> =
            found.iter().map(|phone| (phone.line, phone.name.as_str(), phone.secret.as_deref())).collect();
        assert_eq!(shown, [(3, "alice", Some("abc")), (5, "Bob, desk", Some("x\"y")), (6, "carol", None)]);
        assert_eq!(parse("a;b\n").unwrap()[0].secret.as_deref(), Some("b"));
        for (text, wrong) in
            [("", "no phone"), ("name\n", "no phone"), ("a\nb\na\n", "line 3"), ("a=b", "line 1")]
        {
            assert!(parse(text).unwrap_err().contains(wrong), "{text:?}");
        }
    }
}
