//! The order of the files of src: what a file imports never imports that file, and the core imports nothing around it.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module's path: `["door", "claim"]` for `src/door/claim.rs`.
type Module = Vec<String>;

/// The modules that decide packets, free of input, output, clocks, threads and logs.
const CORE: [&str; 13] = [
    "door", "hash", "inspect", "knock", "names", "net", "outbound", "packet", "sip", "stream", "sys", "time",
    "verdict",
];

#[test]
fn no_file_imports_one_that_imports_it() {
    let imports = imports();
    assert!(imports.values().map(BTreeSet::len).sum::<usize>() > 500, "the files were read");
    let circles = circles(&imports);
    assert!(circles.is_empty(), "files that import each other: {circles:#?}");
}

#[test]
fn the_core_imports_nothing_around_it() {
    let is_core = |module: &Module| module.first().is_some_and(|first| CORE.contains(&first.as_str()));
    let stray: Vec<_> = imports()
        .into_iter()
        .filter(|(module, _)| is_core(module))
        .flat_map(|(module, imported)| imported.into_iter().map(move |other| (module.join("::"), other)))
        .filter(|(_, other)| !is_core(other))
        .collect();
    assert!(stray.is_empty(), "{stray:#?}");
}

#[test]
fn a_circle_is_found() {
    let module = |name: &str| vec![name.to_owned()];
    let planted = [("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")];
    let imports = planted.map(|(from, to)| (module(from), BTreeSet::from([module(to)]))).into();
    assert_eq!(circles(&imports), [["a", "b", "c"]]);
    let text =
        "use crate::{door::{Door, claim::Claim}, net};\nuse super::time::Time;\nfn f() { crate::log::say() }";
    let all = ["door", "net", "time", "log", "me"].map(module).into();
    let all = BTreeSet::union(&all, &BTreeSet::from([vec!["door".to_owned(), "claim".to_owned()]]))
        .cloned()
        .collect();
    let found: Vec<_> = imported(text, &module("me"), &all).iter().map(|module| module.join("::")).collect();
    assert_eq!(found, ["door", "door::claim", "log", "net", "time"]);
}

/// The files that each file of src imports. Tests are left out.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let mut files = BTreeMap::new();
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Vec::new(), &mut files);
    let all: BTreeSet<_> = files.keys().cloned().collect();
    files.into_iter().map(|(module, text)| (module.clone(), imported(&text, &module, &all))).collect()
}

fn read_folder(folder: &Path, module: &Module, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [module.as_slice(), std::slice::from_ref(&name)].concat();
        let is_test = name.ends_with("tests") || ["lib", "main", "testing"].contains(&name.as_str());
        if path.is_dir() && name != "tests" {
            read_folder(&path, &inner, files);
        } else if !is_test && path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(inner, fs::read_to_string(&path).unwrap());
        }
    }
}

/// The modules whose items a file names, with `use` or by their paths.
fn imported(text: &str, module: &Module, all: &BTreeSet<Module>) -> BTreeSet<Module> {
    let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect();
    let code = code.join("\n");
    // A file's unit tests are at its end.
    let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut paths = Vec::new();
    let mut rest = String::new();
    for (number, part) in code.split(';').enumerate() {
        let used = part.rfind("use ").filter(|at| {
            let before = part[..*at].lines().next_back().unwrap_or_default().trim();
            before.is_empty() || before.starts_with("pub")
        });
        match used {
            Some(at) => expand(&part[at + "use ".len()..], "", &mut paths),
            None if number > 0 => rest.push_str(part),
            None => {}
        }
    }
    for root in ["crate::", "super::"] {
        for (at, _) in rest
            .match_indices(root)
            .filter(|(at, _)| !rest[..*at].ends_with("(in ") && !rest[..*at].ends_with("::"))
        {
            let end = |letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':';
            paths.push(rest[at..].split(end).next().unwrap_or_default().trim_end_matches(':').to_owned());
        }
    }
    paths.iter().filter_map(|path| file_of(path, module, all)).filter(|file| file != module).collect()
}

/// The paths of a `use`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(tree: &str, prefix: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        if !path.is_empty() {
            paths.push(format!("{prefix}{path}"));
        }
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let (mut depth, mut part) = (0_usize, String::new());
    for letter in group.trim_end().strip_suffix('}').unwrap_or(group).chars() {
        match letter {
            ',' if depth == 0 => expand(&std::mem::take(&mut part), &prefix, paths),
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter != ',' || depth > 0 {
            part.push(letter);
        }
    }
    expand(&part, &prefix, paths);
}

/// The file that a path leads into: that of its longest beginning which is a module.
fn file_of(path: &str, module: &Module, all: &BTreeSet<Module>) -> Option<Module> {
    let mut segments = path.split("::").peekable();
    let mut here: Module = match *segments.peek()? {
        "crate" => {
            segments.next();
            Vec::new()
        }
        "super" => {
            let mut parent = module.clone();
            while segments.next_if_eq(&"super").is_some() {
                parent.pop();
            }
            parent
        }
        "self" => {
            segments.next();
            module.clone()
        }
        child if all.contains(&[module.as_slice(), &[child.to_owned()]].concat()) => module.clone(),
        _ => return None,
    };
    for segment in segments {
        let inner = [here.as_slice(), &[segment.to_owned()]].concat();
        if !all.contains(&inner) {
            break;
        }
        here = inner;
    }
    all.contains(&here).then_some(here)
}

/// The sets of modules that import each other, directly or by way of others.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<String>> {
    let reached = |from: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(
                imports.get(module).into_iter().flatten().filter(|other| seen.insert((*other).clone())),
            );
        }
        seen
    };
    let reach: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(module))).collect();
    let mut circles = BTreeSet::new();
    for (module, others) in &reach {
        if others.contains(*module) {
            let back = |other: &&Module| reach.get(*other).is_some_and(|others| others.contains(*module));
            circles.insert(others.iter().filter(back).map(|other| other.join("::")).collect::<Vec<_>>());
        }
    }
    circles.into_iter().collect()
}
