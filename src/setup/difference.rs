//! The difference of two texts, line by line.

/// Lines that go, with `-`, and lines that come, with `+`, in their order; lines that stay are left out.
pub fn lines(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let head = old.iter().zip(&new).take_while(same).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(same).count();
    let middle = |lines: &[&str]| -> Vec<String> {
        lines
            .get(head..lines.len() - tail)
            .unwrap_or_default()
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    };
    let (old, new) = (middle(&old), middle(&new));
    if old.len() * new.len() > MAX_CELLS {
        return marked(&old, '-').chain(marked(&new, '+')).collect();
    }
    by_common_lines(&old, &new)
}

/// The longest common subsequence, by a table of lengths from each place on.
fn by_common_lines(old: &[String], new: &[String]) -> Vec<String> {
    let mut lengths = vec![vec![0usize; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i][j] = match old[i] == new[j] {
                true => lengths[i + 1][j + 1] + 1,
                false => lengths[i + 1][j].max(lengths[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && lengths[i + 1][j] >= lengths[i][j + 1] {
            out.push(format!("-{}", old[i]));
            i += 1;
        } else {
            out.push(format!("+{}", new[j]));
            j += 1;
        }
    }
    out
}

fn marked(lines: &[String], mark: char) -> impl Iterator<Item = String> {
    lines.iter().map(move |line| format!("{mark}{line}"))
}

/// Beyond that the table is larger than the answer is worth.
const MAX_CELLS: usize = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ() {
        for (before, after, expected) in [
            ("", "", &[][..]),
            ("a\nb\n", "a\nb\n", &[]),
            ("a\nb\nc", "a\nx\nc", &["-b", "+x"]),
            ("", "a\nb", &["+a", "+b"]),
            ("a\nb", "", &["-a", "-b"]),
            ("a\nb\nc\nd", "b\nc\ne\nd", &["-a", "+e"]),
            ("a\na", "a\na\na", &["+a"]),
        ] {
            assert_eq!(lines(before, after), expected, "{before:?} {after:?}");
        }
    }
}
