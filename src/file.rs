//! A file that is read as a whole, and bounded.

use std::{fs::File, io::Read, path::Path};

/// The bytes of a regular file of at most so many.
///
/// # Errors
/// What would have been allowed, and why it is not.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let refused = |cause: &str| format!("a readable file of at most {} KiB: {cause}", most >> 10);
    let about = std::fs::metadata(path).map_err(|error| refused(&error.to_string()))?;
    // Opening a pipe would wait for whoever writes to it.
    if !about.is_file() {
        return Err(refused("it is no regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| refused(&error.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > most) {
        return Err(refused("it is longer"));
    }
    Ok(bytes)
}
