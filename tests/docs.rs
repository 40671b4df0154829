//! The documents against the program: links, command lines, configuration, tests and scripts that they name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use sipknock::cli::Cli;
use sipknock::config::{Config, Flags};

#[test]
fn links_lead_somewhere() {
    let found = problems(broken_links);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn command_lines_parse() {
    let found = problems(|document, _, found| wrong_commands(document, found));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn tests_and_scripts_are_there() {
    let found = problems(|document, _, found| missing_programs(document, found));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn configurations_are_valid() {
    let found = problems(|document, _, found| wrong_configurations(document, found));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn much_is_checked() {
    let pages = pages();
    let lines: Vec<_> = pages.values().flat_map(commands).map(|(line, _)| line).collect();
    let tables = pages.values().flat_map(|document| document.blocks()).filter(is_configuration);
    assert!(pages.len() > 15, "{:?}", pages.keys());
    assert!(lines.len() > 150, "{lines:#?}");
    assert!(tables.count() > 4);
    for line in ["sipknock doctor --probe", "sipknock reload", "sipknock learn --toml capture.pcap"] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:#?}");
    }
}

/// Each fault, planted, is found, and its neighbours are not.
#[test]
fn a_wrong_line_is_found() {
    let page = |text: &str| Document::new(Path::new("docs/planted.md"), text);
    let pages = BTreeMap::from([(PathBuf::from("docs/planted.md"), page("# A heading, `quoted`\n"))]);
    for (text, expected) in [
        ("[a](planted.md)", None),
        ("[a](planted.md#a-heading-quoted) [b](https://example.org/none)", None),
        ("`[a](none.md)`", None),
        ("[a](none.md)", Some("none.md")),
        ("[a](../docs/planted.md#another)", Some("another")),
        ("[a](#none)", Some("none")),
        ("    sipknock reload   # again", None),
        ("    $ sudo sipknock check && sipknock reload", None),
        ("    sipknock learn --toml a.pcap >> b.toml", None),
        ("    sipknock knock", Some("knock")),
        ("    sipknock reload --hard", Some("--hard")),
        ("    sipknock check && sipknock reload now", Some("now")),
        ("    sipknock run --grace soon", Some("soon")),
        ("    cat a | sipknock learn", Some("FILE")),
        ("    for x; do sipknock doors open --fort 1h $x; done", Some("--fort")),
        ("Text, `sipknock doors close`, and more", None),
        ("Text, `sipknock doors --sort COLUMN`", None),
        ("Text, `sipknock doors shut ADDR`", Some("shut")),
        ("Text, `sipknock stats --yaml`", Some("--yaml")),
        ("    cargo test --test docs a_wrong_line_is_found", None),
        ("`cargo test --test none`", Some("none")),
        ("`cargo test --test root -- pbx::`", None),
        ("`cargo test --test root -- none::`", Some("none::")),
        ("`cargo test --test root -- pbx::phones_stay_in`", None),
        ("`cargo test --test root -- pbx::phones_stay_away`", Some("phones_stay_away")),
        ("    scripts/demo", None),
        ("Text, `scripts/none`", Some("scripts/none")),
        ("    [inspect]\n    ports = [5060]", None),
        ("    [inspect]\n    port = [5060]", Some("port")),
        ("    [[knock]]\n    name = \"a\"\n    secret = \"b\"\n    in = \"body\"", Some("body")),
    ] {
        let (document, mut found) = (page(&format!("Text.\n\n{text}\n")), Vec::new());
        broken_links(&document, &pages, &mut found);
        wrong_commands(&document, &mut found);
        missing_programs(&document, &mut found);
        wrong_configurations(&document, &mut found);
        match expected {
            None => assert!(found.is_empty(), "{text}: {found:?}"),
            Some(word) => assert!(found.len() == 1 && found[0].contains(word), "{text}: {found:?}"),
        }
    }
}

/// A page: text, code blocks, code spans.
struct Document {
    path: PathBuf,
    lines: Vec<Line>,
}

/// A line of a page, and its number from 1 on.
struct Line {
    number: usize,
    text: String,
    is_code: bool,
}

impl Document {
    fn new(path: &Path, text: &str) -> Self {
        let (mut lines, mut is_fenced, mut after_blank, mut in_block) = (Vec::new(), false, true, false);
        for (index, line) in text.lines().enumerate() {
            let is_fence = line.trim_start().starts_with("```");
            let is_deep = line.starts_with("    ") && !is_list_item(line);
            // Indented code begins behind a blank line; a list's own text goes on without one.
            in_block = is_deep && (in_block || after_blank) || line.trim().is_empty() && in_block;
            let is_code = !is_fence && (is_fenced || in_block);
            is_fenced ^= is_fence;
            after_blank = line.trim().is_empty();
            lines.push(Line { number: index + 1, text: line.to_owned(), is_code });
        }
        Self { path: path.to_owned(), lines }
    }

    /// Lines of prose, without what stands in code spans.
    fn prose(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.lines.iter().filter(|line| !line.is_code).map(|line| {
            let outside = line.text.split('`').step_by(2).collect::<Vec<_>>();
            (line.number, outside.join("`"))
        })
    }

    /// Code spans, with those that begin on one line and end on the next.
    fn spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        for paragraph in self.lines.split(|line| line.is_code || line.text.trim().is_empty()) {
            let number = paragraph.first().map_or(0, |line| line.number);
            let text: Vec<_> = paragraph.iter().map(|line| line.text.trim()).collect();
            spans.extend(text.join(" ").split('`').skip(1).step_by(2).map(|span| (number, span.to_owned())));
        }
        spans
    }

    /// Lines of code, with continued ones joined.
    fn code(&self) -> Vec<(usize, String)> {
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut goes_on = false;
        for line in self.lines.iter().filter(|line| line.is_code) {
            let text = line.text.trim();
            let bare = text.strip_suffix('\\').unwrap_or(text);
            match lines.last_mut().filter(|_| goes_on) {
                Some((_, whole)) => whole.push_str(bare),
                None => lines.push((line.number, bare.to_owned())),
            }
            goes_on = bare.len() < text.len();
        }
        lines
    }

    /// Code blocks, with the number of their first line.
    fn blocks(&self) -> Vec<(usize, String)> {
        let blocks = self.lines.split(|line| !line.is_code).filter(|block| !block.is_empty());
        let text = |block: &[Line]| block.iter().map(|line| line.text.trim()).collect::<Vec<_>>().join("\n");
        blocks.map(|block| (block[0].number, text(block))).collect()
    }

    /// The anchors of its headings, as forges make them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.lines.iter().filter(|line| !line.is_code && line.text.starts_with('#'));
        headings.map(|line| anchor(line.text.trim_start_matches('#').trim())).collect()
    }
}

fn is_list_item(line: &str) -> bool {
    let text = line.trim_start();
    let number = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    text.starts_with("- ") || number.len() < text.len() && number.starts_with(". ")
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, by their paths from the top of the repository.
fn pages() -> BTreeMap<PathBuf, Document> {
    let mut paths = Vec::new();
    for folder in ["", "docs", "docs/recipes", "fuzz", "tests/data"] {
        let files = fs::read_dir(root().join(folder)).unwrap();
        let names = files.map(|file| Path::new(folder).join(file.unwrap().file_name()));
        paths.extend(names.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Document {
    Document::new(path, &fs::read_to_string(root().join(path)).unwrap())
}

type Pages = BTreeMap<PathBuf, Document>;

fn problems(check: impl Fn(&Document, &Pages, &mut Vec<String>)) -> Vec<String> {
    let (pages, mut found) = (pages(), Vec::new());
    pages.values().for_each(|document| check(document, &pages, &mut found));
    found
}

/// Links to files and headings that are not there.
fn broken_links(document: &Document, pages: &Pages, found: &mut Vec<String>) {
    for (number, text) in document.prose() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = normal(&document.path, file);
            let has_heading = match pages.get(&path) {
                Some(page) => heading.is_empty() || page.anchors().iter().any(|anchor| anchor == heading),
                None => heading.is_empty() && root().join(&path).exists(),
            };
            if !has_heading {
                found.push(format!("{}:{number}: {target} leads nowhere", document.path.display()));
            }
        }
    }
}

/// The path of a link's target from the top of the repository.
fn normal(page: &Path, file: &str) -> PathBuf {
    if file.is_empty() {
        return page.to_owned();
    }
    let mut path = page.parent().unwrap_or(Path::new("")).to_owned();
    for part in file.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            _ => path.push(part),
        }
    }
    path
}

/// Command lines that the program would not take. In a code block all of it counts. A code span in a sentence may leave out
/// what a command needs and stand for a value by its name; commands and flags count there.
fn wrong_commands(document: &Document, found: &mut Vec<String>) {
    let definition = Cli::definition();
    for (line, (number, is_block)) in commands(document) {
        let words = shlex::split(&line).unwrap_or_default();
        let Err(error) = definition.clone().try_get_matches_from(words) else { continue };
        let is_fine = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
            ErrorKind::InvalidValue
            | ErrorKind::ValueValidation
            | ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            | ErrorKind::NoEquals => !is_block,
            _ => false,
        };
        if !is_fine {
            let (path, text) = (document.path.display(), error.render().to_string());
            found.push(format!("{path}:{number}: {line}: {text}"));
        }
    }
}

/// The program's command lines, each with the line's number and whether it stands in a code block.
fn commands(document: &Document) -> Vec<(String, (usize, bool))> {
    let code = document.code().into_iter().map(|(number, text)| (number, text, true));
    let spans = document.spans().into_iter().map(|(number, text)| (number, text, false));
    let of_line = |(number, text, is_block): (usize, String, bool)| {
        let simple = simple_commands(&text);
        simple.into_iter().map(move |command| (command, (number, is_block)))
    };
    code.chain(spans).flat_map(of_line).collect()
}

/// The simple commands of a shell line that run the program, without comments and redirections.
fn simple_commands(line: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let (mut quote, mut before) = (None, ' ');
    for letter in line.chars() {
        match (quote, letter) {
            (None, '#') if before.is_whitespace() => break,
            (None, '|' | ';' | '&' | '(' | ')' | '>' | '<') => commands.push(String::new()),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
        if quote.is_some() || !"|;&()<>".contains(letter) {
            commands.last_mut().unwrap().push(letter);
        }
        before = letter;
    }
    let of_program = |command: &String| {
        let words: Vec<_> = command.split_whitespace().collect();
        let leading = words.iter().take_while(|word| {
            matches!(**word, "$" | "sudo" | "do" | "then" | "if" | "!")
                || word.contains('=') && !word.starts_with('-')
        });
        let rest = &words[leading.count()..];
        let program = rest.first().is_some_and(|word| *word == "sipknock");
        // Several spaces within quotes do not matter to what parses.
        (program && !rest.contains(&"…")).then(|| rest.join(" "))
    };
    commands.iter().filter_map(of_program).collect()
}

/// Tests and scripts that are named and not there.
fn missing_programs(document: &Document, found: &mut Vec<String>) {
    let texts = document.code().into_iter().chain(document.spans());
    for (number, text) in texts {
        let words: Vec<_> = text.split_whitespace().collect();
        let mut missing = Vec::new();
        if let Some(script) = words.first().filter(|word| word.starts_with("scripts/")) {
            missing.extend((!root().join(script).exists()).then(|| (*script).to_owned()));
        }
        if words.starts_with(&["cargo", "test"]) {
            let mut test = Vec::new();
            for pair in words.windows(2).filter(|pair| pair[0] == "--test") {
                test.push(pair[1]);
                let is_there = |path: String| root().join(path).exists();
                let is_there = is_there(format!("tests/{}.rs", pair[1]))
                    || is_there(format!("tests/{}/main.rs", pair[1]));
                missing.extend((!is_there).then(|| pair[1].to_owned()));
            }
            let is_name =
                |word: &&&str| (word.contains('_') || word.contains("::")) && !word.starts_with('-');
            let name = words.last().filter(is_name);
            if let (Some(name), [program]) = (name, &test[..]) {
                missing.extend((!has_test(program, name)).then(|| (*name).to_owned()));
            }
        }
        found.extend(
            missing.iter().map(|name| format!("{}:{number}: there is no {name}", document.path.display())),
        );
    }
}

/// Whether a test program's files have a name, which may begin with that of a suite.
fn has_test(program: &str, name: &str) -> bool {
    let folder = root().join("tests").join(program);
    let (beside, name) = match name.split_once("::") {
        Some((suite, name)) => (folder.join(suite), name),
        None => (folder, name),
    };
    let mut files = vec![beside.with_extension("rs")];
    if let Ok(folder) = fs::read_dir(beside) {
        files.extend(folder.map(|file| file.unwrap().path()));
    }
    files.iter().any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(name)))
}

/// Blocks of configuration that would be refused.
fn wrong_configurations(document: &Document, found: &mut Vec<String>) {
    for block in document.blocks().iter().filter(|block| is_configuration(block)) {
        let (number, text) = block;
        let whole = match text.contains("[[knock]]") {
            true => text.clone(),
            false => format!("{text}\n[[knock]]\nname = \"a\"\nsecret = \"gjdmtwapjmtdgawpmjgtdwa\"\n"),
        };
        if let Err(error) = Config::parse(&whole, Path::new("block"), &Flags::default()) {
            found.push(format!("{}:{number}: {error}", document.path.display()));
        }
    }
}

fn is_configuration(block: &(usize, String)) -> bool {
    let sections = ["inspect", "firewall", "queue", "control", "state", "http", "process"];
    let first = block.1.lines().next().unwrap_or_default();
    first == "[[knock]]" || sections.iter().any(|section| first == format!("[{section}]"))
}
