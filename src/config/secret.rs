//! Secrets: in files of their own, never in the configuration, never in a message.

use std::{
    fmt,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use super::{
    mistake::{Place, join},
    reader::Section,
};

/// The secret, and the one that it replaces where two may be in use at a time.
const LINES_MAX: usize = 2;
/// Largest file of a secret: no key comes near it.
const SECRET_BYTES_MAX: u64 = 4 << 10;

/// The permission of everybody else to read a file.
const OTHERS_READ: u32 = 0o004;

/// Something that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `secret` from every message.
    pub fn new(secret: T) -> Self {
        Self(secret)
    }

    /// The secret itself, for the call that needs it.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The content of the file that `key` names, as `parse` reads it; `rule` says what `parse` wants.
/// `None` where the key is absent, and where it is refused: that is noted. Where the secret `is_used`
/// nowhere, its file is not opened.
pub(super) fn secret<T>(
    section: &mut Section<'_>,
    key: &'static str,
    is_used: bool,
    rule: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<Secret<T>> {
    let at = section.place(key);
    let file = section.read(key, |entry| {
        let path = entry.text().filter(|text| !text.is_empty() && !text.contains('\0'));
        path.map(str::to_owned).ok_or_else(|| "the path of a file".into())
    });
    let (at, file) = (at?, file?);
    if !is_used {
        return None;
    }
    let read = content(Path::new(&file)).and_then(|text| {
        parse(&text).ok_or_else(|| format!("the path of a file that holds {rule}; this file does not"))
    });
    match read {
        Ok(secret) => {
            warn_of_open(section, (&at, key), Path::new(&file));
            Some(Secret::new(secret))
        }
        Err(allowed) => {
            let path = join(section.path(), key);
            section.findings.refuse(&at, &path, &file, allowed);
            None
        }
    }
}

/// Warns where everybody may read the file that `key` names, which is for nobody else. One that is not there says nothing here.
pub(super) fn warn_of_open(section: &mut Section<'_>, (at, key): (&Place, &str), file: &Path) {
    if fs::metadata(file).is_ok_and(|about| about.permissions().mode() & OTHERS_READ != 0) {
        let path = join(section.path(), key);
        let text = format!("{path} {file:?} can be read by every user of this machine; restrict it with chmod 600");
        section.findings.warn(at, text);
    }
}

/// The trimmed text of a file, or what would have been allowed.
fn content(path: &Path) -> Result<String, String> {
    let unreadable = |error| format!("the path of a readable file; reading it failed: {error}");
    let about = fs::metadata(path).map_err(unreadable)?;
    // Opening a pipe would wait for whoever writes to it.
    if !about.is_file() {
        return Err("the path of a regular file".into());
    }
    let mut bytes = Vec::new();
    let limit = SECRET_BYTES_MAX + 1;
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > SECRET_BYTES_MAX) {
        return Err(format!("the path of a file of at most {SECRET_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    let text = text.trim();
    let is_printable = |line: &str| !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic());
    let lines = text.split('\n').count();
    if lines > LINES_MAX || !text.split('\n').all(is_printable) {
        return Err("the path of a file that holds one line of printable text without spaces".into());
    }
    Ok(text.to_owned())
}
