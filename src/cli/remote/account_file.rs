//! Accounts from a file or from stdin, which keeps them out of the list of processes and the history of
//! the shell. No error repeats one.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    cli::{args::AccountSpec, failure::Failure},
    domain::{ids::AccountId, input::InputError},
};

/// Largest file.
const FILE_BYTES: u64 = 16 << 20;

/// The accounts of a file, at least one, each with its line.
pub(super) fn accounts(path: &Path) -> Result<Vec<(usize, AccountSpec)>, Failure> {
    let specs = specs(path, &text(path)?)?;
    if specs.is_empty() {
        return Err(refused(path, "it names no account; --remove removes the pool"));
    }
    Ok(specs)
}

fn specs(path: &Path, text: &str) -> Result<Vec<(usize, AccountSpec)>, Failure> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let named = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let spec = |(number, line): (usize, &str)| match AccountSpec::parse(line) {
        Ok(spec) => Ok((number, spec)),
        Err(error) => Err(on_line(path, number, &error)),
    };
    named.map(spec).collect()
}

/// The only account of a file.
pub(super) fn account(path: &Path) -> Result<AccountId, Failure> {
    AccountId::parse("account", text(path)?.trim()).map_err(|error| refused(path, &error.to_string()))
}

/// The error for a line.
pub(super) fn on_line(path: &Path, line: usize, error: &InputError) -> Failure {
    Failure::AccountFile { name: name(path), line: Some(line), cause: error.to_string() }
}

fn refused(path: &Path, cause: &str) -> Failure {
    Failure::AccountFile { name: name(path), line: None, cause: cause.to_owned() }
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn name(path: &Path) -> String {
    if is_stdin(path) { "stdin".to_owned() } else { path.display().to_string() }
}

fn text(path: &Path) -> Result<String, Failure> {
    let read = if is_stdin(path) { read(io::stdin().lock()) } else { File::open(path).and_then(read) };
    read.map_err(|error| refused(path, &error.to_string()))
}

fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    let size = from.take(FILE_BYTES + 1).read_to_string(&mut text)?;
    let fits = u64::try_from(size).is_ok_and(|size| size <= FILE_BYTES);
    if fits { Ok(text) } else { Err(io::Error::other("it is larger than 16 MiB")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-secret-0123456789-9f3c";

    fn read_as_stdin(text: &str) -> Result<Vec<(usize, String)>, String> {
        let named = specs(Path::new("-"), text).map_err(|failure| failure.to_string())?;
        Ok(named.into_iter().map(|(line, spec)| (line, spec.account.as_str().to_owned())).collect())
    }

    #[test]
    fn empty_lines_and_comments_are_skipped_and_still_count() {
        let text = format!("# the first\r\n\r\n{SECRET},limit=5\r\n  \n  # the second\n  k2  ");
        assert_eq!(read_as_stdin(&text), Ok(vec![(3, SECRET.to_owned()), (6, "k2".to_owned())]));
        assert_eq!(read_as_stdin("# none\n"), Ok(Vec::new()));
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_not_repeated() {
        for (line, wrong) in [("sk-secret-0123456789 9f3c", "account \"sk-s…9f3c\""), ("k1,window=daily", "window")] {
            let error = read_as_stdin(&format!("{SECRET}\n\n{line}\n")).unwrap_err();
            assert!(error.starts_with(&format!("stdin: line 3: {wrong}")), "{error}");
            assert!(!error.contains("0123456789"), "{error}");
        }
    }

    #[test]
    fn what_is_too_large_or_no_text_is_refused() {
        let most = usize::try_from(FILE_BYTES).unwrap();
        assert_eq!(read(vec![b'#'; most].as_slice()).map(|text| text.len()).ok(), Some(most));
        assert_eq!(read(vec![b'#'; most + 1].as_slice()).unwrap_err().to_string(), "it is larger than 16 MiB");
        assert_eq!(read(io::repeat(b'#')).unwrap_err().to_string(), "it is larger than 16 MiB");
        assert!(read([0xff, 0xfe].as_slice()).is_err());
    }
}
