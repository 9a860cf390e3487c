//! `tollgate token`: writes the tokens that nodes read, in a file or in the store of a cluster.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use super::{
    Exit,
    args::{Expires, TokenCreateArgs, TokenImportArgs, TokenPlaceArgs, TokenRevokeArgs, TokenVerb},
    failure::Failure,
    local::TokenPlace,
    output::{Output, table, text as column},
};
use crate::{
    auth::{Grant, StoredToken, TokenFile},
    clock,
};

const OWNER_ONLY: u32 = 0o600;

pub(super) fn run(verb: &TokenVerb, output: &mut Output<'_>) -> Exit {
    let done = match verb {
        TokenVerb::Create(args) => create(args, output),
        TokenVerb::List(args) => list(args, output),
        TokenVerb::Revoke(args) => revoke(args, output),
        TokenVerb::Import(args) => import(args, output),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.error(&Failure::Local(error));
            Exit::Error
        }
    }
}

fn create(args: &TokenCreateArgs, output: &mut Output<'_>) -> Result<(), String> {
    let now = clock::wall();
    let expires = match args.expires {
        Expires::Never => None,
        Expires::At(at) if at <= now => return Err("--expires is in the past".into()),
        Expires::At(at) => Some(at),
        Expires::In(after) => Some(now.saturating_add(after)),
    };
    let grant =
        Grant { role: args.role.into(), orgs: args.orgs.clone(), scopes: args.scopes.clone(), bind: args.bind.clone() };
    let made = StoredToken::make(&args.name, grant, now, expires)?;
    let kept_in = match TokenPlace::of(&args.place)? {
        TokenPlace::Store(store) => {
            store.create(&made.stored)?;
            "the store of the cluster".to_owned()
        }
        TokenPlace::File(path) => {
            change(&path, |file| {
                if file.tokens.iter().any(|token| token.name == args.name) {
                    let name = &args.name;
                    return Err(format!("there is a token named {name:?} already: revoke it, or choose another name"));
                }
                file.tokens.push(made.stored);
                Ok(())
            })?;
            path.display().to_string()
        }
    };
    output.data(&made.text);
    output.note(&format!("this token is shown once; {kept_in} has its SHA-256"));
    Ok(())
}

fn list(args: &TokenPlaceArgs, output: &mut Output<'_>) -> Result<(), String> {
    let tokens = match TokenPlace::of(args)? {
        TokenPlace::Store(store) => store.all()?,
        TokenPlace::File(path) => read(&path)?.tokens,
    };
    let now = clock::wall();
    let rows = tokens.iter().map(|token| {
        let ended = token.ends().ok().flatten().is_some_and(|at| at <= now);
        let ends = token.expires.as_deref().unwrap_or("never");
        let ends = if ended { format!("{ends} (over)") } else { ends.to_owned() };
        let role = token.role.to_string();
        [token.name.clone(), role, token.orgs.join(","), token.scopes.join(","), token.bind.join(","), ends]
    });
    let columns = ["name", "role", "orgs", "scopes", "bind", "expires"].map(column);
    output.show(&table(columns, rows));
    Ok(())
}

fn revoke(args: &TokenRevokeArgs, output: &mut Output<'_>) -> Result<(), String> {
    let unknown = || format!("no token is named {:?}", args.name);
    match TokenPlace::of(&args.place)? {
        TokenPlace::Store(store) => store.revoke(&args.name)?.then_some(()).ok_or_else(unknown)?,
        TokenPlace::File(path) => change(&path, |file| {
            let before = file.tokens.len();
            file.tokens.retain(|token| token.name != args.name);
            if file.tokens.len() == before { Err(unknown()) } else { Ok(()) }
        })?,
    }
    output.note(&format!("{}: revoked", args.name));
    Ok(())
}

/// One after the other, so that a name that another token has already stops it; what was taken over is known when it is
/// started again.
fn import(args: &TokenImportArgs, output: &mut Output<'_>) -> Result<(), String> {
    let tokens = read(&args.from)?.tokens;
    // As the store says them again.
    let tokens = tokens.iter().map(|token| StoredToken::of_row(token.row()?)).collect::<Result<Vec<_>, _>>()?;
    let TokenPlace::Store(store) = TokenPlace::of(&args.place)? else {
        return Err("tokens are taken over into the store of a cluster: name it with --postgres or --config".into());
    };
    let there = store.all()?;
    let (known, new): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| there.contains(token));
    new.iter().try_for_each(|token| store.create(token))?;
    output.note(&format!("{} tokens taken over, {} were taken over before", new.len(), known.len()));
    Ok(())
}

fn read(path: &Path) -> Result<TokenFile, String> {
    TokenFile::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads the file, changes it and puts the new one in its place: a node sees one of them whole. One command at a time
/// does so.
fn change(path: &Path, change: impl FnOnce(&mut TokenFile) -> Result<(), String>) -> Result<(), String> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Into::into);
    let one_at_a_time = File::open(&dir).map_err(named)?;
    one_at_a_time.lock().map_err(named)?;
    let mut file = if path.exists() { read(path)? } else { TokenFile::default() };
    change(&mut file)?;
    let text = file.text()?;
    replace(path, &dir, &text).map_err(named)
}

/// The new file belongs to whom the old one belonged, so that the node can read it as before.
fn replace(path: &Path, dir: &Path, text: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&fresh)?;
    if let Ok(old) = fs::metadata(path) {
        chown(&fresh, Some(old.uid()), Some(old.gid()))?;
        out.set_permissions(fs::Permissions::from_mode(old.permissions().mode()))?;
    }
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}
