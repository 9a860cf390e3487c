//! Disks that belong to a test: mounted for it, unmounted after it. They need root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// Runs a command that has to succeed.
pub fn run(command: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(command).args(arguments).output().map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Something mounted, until it is dropped.
#[derive(Debug)]
pub struct Mounted {
    point: TempDir,
}

impl Mounted {
    fn mount(options: &[&str], what: &str) -> Result<Self, String> {
        let point = TempDir::new().map_err(|error| error.to_string())?;
        let mounted = Self { point };
        let arguments: Vec<_> = options.iter().copied().chain([what, mounted.text()]).collect();
        match run("mount", &arguments) {
            Ok(()) => Ok(mounted),
            Err(error) => {
                // Nothing to unmount.
                let Self { point } = &mounted;
                let path = point.path().to_owned();
                std::mem::forget(mounted);
                let _ = fs::remove_dir(path);
                Err(error)
            }
        }
    }

    /// An empty file system in memory.
    pub fn memory(bytes: u64) -> Result<Self, String> {
        Self::mount(&["-t", "tmpfs", "-o", &format!("size={bytes}")], "tmpfs")
    }

    /// The file system inside an image.
    pub fn image(image: &Path) -> Result<Self, String> {
        Self::mount(&["-o", "loop"], &image.to_string_lossy())
    }

    pub fn path(&self) -> &Path {
        self.point.path()
    }

    fn text(&self) -> &str {
        self.point.path().to_str().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run("umount", &[self.text()]) {
            eprintln!("{error}; unmounting it lazily");
            let _ = run("umount", &["-l", self.text()]);
        }
    }
}

/// A setting of the kernel, put back when dropped.
#[derive(Debug)]
pub struct Kernel {
    path: PathBuf,
    before: String,
}

impl Kernel {
    pub fn set(name: &str, value: &str) -> Result<Self, String> {
        let path = PathBuf::from("/proc/sys").join(name);
        let before = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        fs::write(&path, value).map_err(|error| format!("{name}: {error}"))?;
        Ok(Self { path, before })
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            eprintln!("{} stays changed, it was {}: {error}", self.path.display(), self.before);
        }
    }
}
