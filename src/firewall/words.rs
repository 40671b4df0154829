//! Words of a rule as `iptables-save` prints them.

/// The words of a line, where quotes hold several together, as `xs_print` writes them (iptables/xshared.c).
pub fn words(spec: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut escaped, mut some) = (String::new(), false, false, false);
    for letter in spec.chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                quoted = !quoted;
                some = true;
            }
            ' ' if !quoted => {
                if some || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                some = false;
            }
            _ => word.push(letter),
        }
    }
    if some || !word.is_empty() {
        words.push(word);
    }
    words
}
