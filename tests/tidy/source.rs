//! Just enough of Rust's grammar to judge a file: text without comments and strings, without test
//! code, and the paths it names. Lines keep their numbers.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One file under `src/`.
#[derive(Debug)]
pub(crate) struct Source {
    /// From the project's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked, and test code removed.
    pub(crate) code: String,
    /// The same for the test code alone.
    pub(crate) test_code: String,
    /// Modules above the file's items: `store/sled/open.rs` has `["store", "sled", "open"]`.
    pub(crate) modules: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (code, test_code) = split_tests(&blank(text));
        let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
        let modules = inside.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
        Self { path: path.into(), text: text.into(), code, test_code, modules: modules.map(str::to_owned).collect() }
    }

    /// The same file, all of it test code.
    #[must_use]
    pub(crate) fn into_test(self) -> Self {
        let code = blank(&self.text);
        Self { test_code: code, code: String::new(), ..self }
    }

    /// Modules in other files that exist only for tests: `#[cfg(test)] mod testing;`.
    pub(crate) fn test_modules(&self) -> Vec<Vec<String>> {
        let declarations = self.test_code.split("#[cfg(test)]").filter_map(|item| {
            let (name, _) = item.split_once("mod ")?.1.split_once(';')?;
            name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
        });
        declarations.map(|name| self.modules.iter().cloned().chain([name]).collect()).collect()
    }

    pub(crate) fn is_test(&self) -> bool {
        self.code.trim().is_empty()
    }

    /// Every path the code names, absolute where it starts in this crate: `crate::domain::ids`.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        let (mut paths, mut bound) = (BTreeSet::new(), BTreeSet::new());
        let mut rest = String::new();
        for statement in self.code.split_inclusive(';') {
            let Some(at) = use_keyword(statement) else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(&statement[..at]);
            let tree: String =
                statement[at + 4..].trim_end_matches(';').split_whitespace().collect::<Vec<_>>().join(" ");
            for leaf in expand(&tree) {
                let (path, alias) = leaf.split_once(" as ").unwrap_or((leaf.as_str(), ""));
                let path = self.absolute(path.trim_end_matches("::self"));
                let name = if alias.is_empty() { path.rsplit("::").next().unwrap_or_default() } else { alias };
                bound.insert(name.to_owned());
                paths.insert(path);
            }
        }
        let rest = without_visibilities(&rest);
        // Behind the imports a path starts in a crate only where no import gave its head a meaning.
        let heads = written_paths(&rest).into_iter();
        paths.extend(heads.filter(|path| !bound.contains(head(path))).map(|path| self.absolute(&path)));
        paths
    }

    /// `super::super::x` from the crate's root, where it reaches that far.
    fn absolute(&self, path: &str) -> String {
        let mut rest = path;
        let mut ups = 0;
        while let Some(deeper) = rest.strip_prefix("super::") {
            (rest, ups) = (deeper, ups + 1);
        }
        if let Some(own) = rest.strip_prefix("self::") {
            rest = own;
        }
        if ups == 0 {
            return path.into();
        }
        let above = &self.modules[..self.modules.len().saturating_sub(ups)];
        format!("crate::{}", above.iter().map(String::as_str).chain([rest]).collect::<Vec<_>>().join("::"))
    }
}

/// `pub(in crate::a)` names a module without importing anything from it.
fn without_visibilities(code: &str) -> String {
    let mut pieces = code.split("pub(in ");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |code, piece| code + piece.split_once(')').map_or("", |(_, behind)| behind))
}

/// The first segment.
pub(crate) fn head(path: &str) -> &str {
    path.split("::").next().unwrap_or_default()
}

/// Every file below `root/under`, as paths from `root`, in order; nothing hidden.
pub(crate) fn files(root: &Path, under: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root.join(under)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory that was just listed");
            let visible = entries.map(|entry| entry.expect("an entry").path()).filter(|path| {
                path.file_name().is_some_and(|name| !matches!(name.to_str(), Some("target" | "__pycache__")))
            });
            open.extend(visible);
        } else if path.is_file() {
            let inside = path.strip_prefix(root).expect("below the root");
            found.push(inside.to_str().expect("UTF-8 names").replace('\\', "/"));
        }
    }
    found.sort();
    found
}

/// Blanks comments and the insides of string and character literals; every line stays.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// What `text` says to people: its comments and the insides of its string literals, each with the line where
/// it begins. Comments with nothing but space between them are one.
pub(crate) fn prose(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces: Vec<(usize, String)> = Vec::new();
    let (mut at, mut line, mut comment_goes_on) = (0, 1, false);
    while at < chars.len() {
        let end = literal_end(&chars, at);
        let is_comment = chars[at] == '/';
        let said = &chars[at..end.max(at + 1)];
        match pieces.last_mut() {
            _ if end == at => comment_goes_on &= chars[at].is_whitespace(),
            Some((_, comment)) if is_comment && comment_goes_on => comment.extend(said),
            _ => pieces.push((line, said.iter().collect())),
        }
        if end > at {
            comment_goes_on = is_comment;
        } else if comment_goes_on && let Some((_, comment)) = pieces.last_mut() {
            // The line ends between two comments: the second one's line is counted from the first.
            comment.push(chars[at]);
        }
        line += said.iter().filter(|c| **c == '\n').count();
        at = end.max(at + 1);
    }
    pieces
}

/// Behind the comment or literal that starts at `at`; `at` where none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    let find = |from: usize, text: &str| {
        let wanted: Vec<char> = text.chars().collect();
        (from..chars.len()).find(|i| chars[*i..].starts_with(&wanted)).map_or(chars.len(), |i| i + wanted.len())
    };
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len());
    }
    if starts("/*") {
        return find(at + 2, "*/");
    }
    if !in_word && (starts("r\"") || starts("r#")) {
        let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
        if chars.get(at + 1 + hashes) == Some(&'"') {
            return find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if starts("\"") {
        let mut end = at + 1;
        while end < chars.len() && chars[end] != '"' {
            end += if chars[end] == '\\' { 2 } else { 1 };
        }
        return (end + 1).min(chars.len());
    }
    // A character literal, not a lifetime.
    if starts("'\\") {
        return find(at + 3, "'");
    }
    if starts("'") && chars.get(at + 2) == Some(&'\'') {
        return at + 3;
    }
    at
}

/// Code without tests, and the tests without code: what `#[cfg(test)]` stands before is a test.
fn split_tests(blanked: &str) -> (String, String) {
    let (mut code, mut tests) = (String::new(), String::new());
    let mut rest = blanked;
    while let Some(start) = rest.find("#[cfg(test)]") {
        let end = start + item_end(&rest[start..]);
        let blanks = |text: &str| text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
        code += &rest[..start];
        code += &blanks(&rest[start..end]);
        tests += &blanks(&rest[..start]);
        tests += &rest[start..end];
        rest = &rest[end..];
    }
    code += rest;
    (code, tests)
}

/// Length of the item at the start: to its `;` or its closing brace.
pub(crate) fn item_end(text: &str) -> usize {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Where `use ` starts as a keyword of its own.
fn use_keyword(statement: &str) -> Option<usize> {
    statement.match_indices("use ").map(|(at, _)| at).find(|at| {
        let before = &statement[..*at];
        before.is_empty() || before.ends_with(|c: char| c.is_whitespace() || c == '{' || c == '}')
    })
}

/// `a::{b, c::{self, d}}` into `a::b`, `a::c::self`, `a::c::d`.
pub(crate) fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else { return vec![tree.to_owned()] };
    let (prefix, inner) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())]);
    let (mut leaves, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    leaves.extend(expand(part).iter().map(|leaf| format!("{prefix}{leaf}")));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    leaves
}

/// Every `a::b::…` written in code, from its first segment on.
fn written_paths(code: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let before = rest[..start].strip_suffix("::");
        let continues = before.is_some_and(|before| before.is_empty() || before.ends_with('>'));
        let path = &rest[start..];
        let mut end = path.find(|c| !is_word(c)).unwrap_or(path.len());
        while path[end..].starts_with("::") && path[end + 2..].starts_with(is_word) {
            end += 2 + path[end + 2..].find(|c| !is_word(c)).unwrap_or(path.len() - end - 2);
        }
        if !continues && path[..end].contains("::") {
            paths.push(path[..end].to_owned());
        }
        // What continues behind a generic (`Vec::<u8>::new`) is no new path; a leading `::` is one.
        rest = &path[end..];
    }
    paths
}
