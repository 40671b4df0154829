//! Questions and answers, on a terminal or in a pipe.

use std::io::{self, BufRead, Write};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DialogError {
    /// The answers ended.
    #[error(
        "the answers end before the last question, so nothing is changed: answer all of them, or say --yes"
    )]
    End,
    /// An answer in a pipe is wrong.
    #[error("{question}: {text}; nothing is changed")]
    Wrong {
        /// The question.
        question: String,
        /// The fault.
        text: String,
    },
    /// The terminal or the pipe.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Asks, or takes the proposal for the answer.
pub struct Dialog<R, W> {
    input: R,
    out: W,
    /// Take each proposal.
    yes: bool,
    /// Ask again after a wrong answer.
    again: bool,
}

impl<R: BufRead, W: Write> Dialog<R, W> {
    /// With `yes` nothing is asked. With `again` a wrong answer is said, and the question asked again.
    pub const fn new(input: R, out: W, yes: bool, again: bool) -> Self {
        Self { input, out, yes, again }
    }

    /// Says a line.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Asks for a value; an empty answer takes the proposal.
    ///
    /// # Errors
    /// If the answers have ended, or one in a pipe is wrong.
    pub fn ask<T>(
        &mut self,
        question: &str,
        proposal: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, DialogError> {
        loop {
            let answer = match self.yes {
                true => proposal.to_owned(),
                false => self.line(&format!("{question} [{proposal}]: "))?,
            };
            let text = if answer.is_empty() { proposal } else { &answer };
            match read(text) {
                Ok(value) => return Ok(value),
                Err(text) if self.again && !self.yes => writeln!(self.out, "  {text}")?,
                Err(text) => return Err(DialogError::Wrong { question: question.to_owned(), text }),
            }
        }
    }

    /// Asks whether to do something; an empty answer is a yes.
    ///
    /// # Errors
    /// As [`Dialog::ask`].
    pub fn agree(&mut self, question: &str) -> Result<bool, DialogError> {
        self.ask(question, "yes", |text| match text.to_ascii_lowercase().as_str() {
            "yes" | "y" => Ok(true),
            "no" | "n" => Ok(false),
            _ => Err(format!("{text:?} is neither yes nor no")),
        })
    }

    fn line(&mut self, prompt: &str) -> Result<String, DialogError> {
        write!(self.out, "{prompt}")?;
        self.out.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            writeln!(self.out)?;
            return Err(DialogError::End);
        }
        // In a pipe nobody has ended the line of the question. Text behind a sign of equality is a secret.
        if !self.again {
            match line.split_once('=') {
                Some((name, _)) => writeln!(self.out, "{}=(not shown)", name.trim())?,
                None => writeln!(self.out, "{}", line.trim())?,
            }
        }
        Ok(line.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u8, String> {
        text.parse().map_err(|_| "no number".to_owned())
    }

    fn answer(answers: &str, yes: bool, again: bool) -> (Result<u8, DialogError>, String) {
        let mut out = Vec::new();
        let answer = Dialog::new(answers.as_bytes(), &mut out, yes, again).ask("How many", "7", number);
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(answer("9\n", false, false).0.unwrap(), 9);
        assert_eq!(answer("\n", false, false).0.unwrap(), 7);
        assert_eq!(answer("", true, false).0.unwrap(), 7);
        assert!(answer("", true, false).1.is_empty(), "nothing is asked");
        let (value, said) = answer("x\n8\n", false, true);
        assert_eq!((value.unwrap(), said.as_str()), (8, "How many [7]:   no number\nHow many [7]: "));
        assert!(matches!(answer("x\n8\n", false, false).0, Err(DialogError::Wrong { .. })));
        assert_eq!(answer("8\n", false, false).1, "How many [7]: 8\n", "a pipe's answer is shown");
        let (_, said) = answer("a=hush\n", false, false);
        assert!(said.contains("a=(not shown)") && !said.contains("hush"), "{said}");
        assert!(matches!(answer("", false, false).0, Err(DialogError::End)));
        assert!(matches!(answer("", false, true).0, Err(DialogError::End)));
    }

    #[test]
    fn agreement() {
        for (text, agreed) in [("\n", true), ("Y\n", true), ("no\n", false), ("n\n", false)] {
            assert_eq!(
                Dialog::new(text.as_bytes(), Vec::new(), false, false).agree("Go on").unwrap(),
                agreed
            );
        }
    }
}
