//! `tollgate context`: how nodes are reached, under names, in a file of the user.
//!
//! The file has no secret, only paths of files that have them. What the command line or a variable says comes before what
//! a context says; and where they name a node, the context in use is left aside, because its token is for its own node.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Exit,
    address::Address,
    args::{ContextAddArgs, ContextVerb, GlobalArgs},
    failure::Failure,
    output::{Output, Surroundings, View, facts, table, text},
    remote::failed,
};
use crate::domain::{input::InputError, window::Length};

/// The name that stands for no context.
const NONE: &str = "default";
const CONTEXTS_MAX: usize = 256;
const FILE_BYTES: u64 = 1 << 20;
const OWNER_ONLY: u32 = 0o600;
const OWNER_ENTERS: u32 = 0o700;

/// How a node is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    addr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

/// The options of the command line and of variables, and for what they leave open the context.
pub(super) fn filled(mut global: GlobalArgs, around: &Surroundings) -> Result<GlobalArgs, Failure> {
    let name = match &global.context {
        Some(name) if name == NONE => return Ok(global),
        Some(name) => name.clone(),
        None if global.addr.is_some() || around.config_home.is_none() => return Ok(global),
        None => match read(&place(around)?)?.current {
            Some(name) => name,
            None => return Ok(global),
        },
    };
    let Context { addr, ca, client_cert, client_key, token_file, timeout } = known(&read(&place(around)?)?, &name)?;
    let refused = |error: InputError| Failure::Local(format!("the context {name}: {error}"));
    let addr = Address::parse(&addr).map_err(refused)?;
    let timeout = timeout.as_deref().map(super::args::timeout).transpose().map_err(refused)?;
    global.addr = global.addr.or(Some(addr));
    global.ca = global.ca.or(ca);
    // A certificate without its own key is none.
    if global.client_cert.is_none() && global.client_key.is_none() {
        (global.client_cert, global.client_key) = (client_cert, client_key);
    }
    global.token_file = global.token_file.or(token_file);
    global.timeout = global.timeout.or(timeout);
    Ok(global)
}

/// The names of all contexts, and the one that stands for none; nothing where the file cannot be read.
pub(super) fn names(around: &Surroundings) -> Vec<String> {
    let file = place(around).and_then(|path| read(&path)).unwrap_or_default();
    file.contexts.into_keys().chain([NONE.to_owned()]).collect()
}

pub(super) fn run(verb: &ContextVerb, global: &GlobalArgs, around: &Surroundings, output: &mut Output<'_>) -> Exit {
    let done = place(around).and_then(|path| match verb {
        ContextVerb::Add(args) => add(args, global, &path, output),
        ContextVerb::List => list(&path, output),
        ContextVerb::Use { name } => take(name, &path, output),
        ContextVerb::Show { name } => show(name.as_deref(), &path, output),
        ContextVerb::Remove { name } => remove(name, &path, output),
    });
    match done {
        Ok(()) => Exit::Done,
        Err(failure) => failed(&failure, output),
    }
}

fn place(around: &Surroundings) -> Result<PathBuf, Failure> {
    let home = around.config_home.as_ref();
    let home = home.ok_or_else(|| Failure::Local("neither XDG_CONFIG_HOME nor HOME names a directory".into()))?;
    Ok(home.join("tollgate").join("contexts.toml"))
}

fn add(args: &ContextAddArgs, global: &GlobalArgs, path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let name = &args.name;
    if name == NONE {
        return Err(Failure::Usage(InputError::new("name", name, "another name: this one is no context")));
    }
    let addr = global.addr.as_ref().ok_or_else(|| {
        Failure::Usage(InputError::new("addr", "", "--addr with HOST:PORT, http://HOST:PORT or https://HOST:PORT"))
    })?;
    let new = Context {
        addr: addr.to_string(),
        ca: absolute(global.ca.as_deref())?,
        client_cert: absolute(global.client_cert.as_deref())?,
        client_key: absolute(global.client_key.as_deref())?,
        token_file: absolute(global.token_file.as_deref())?,
        timeout: global.timeout.and_then(|time| u64::try_from(time.as_millis()).ok()).map(|ms| Length(ms).to_string()),
    };
    let mut file = read(path)?;
    if file.contexts.contains_key(name) && !args.replace {
        let allowed = "a name that no context has, or --replace";
        return Err(Failure::Usage(InputError::new("name", name, allowed)));
    }
    if file.contexts.len() >= CONTEXTS_MAX && !file.contexts.contains_key(name) {
        return Err(Failure::Local(format!("there are {CONTEXTS_MAX} contexts, which is the most")));
    }
    file.contexts.insert(name.clone(), new.clone());
    let current = file.current.get_or_insert_with(|| name.clone()) == name;
    write(path, &file)?;
    output.object(&json!({"name": name, "current": current, "context": new}), || described(name, &new, current));
    Ok(())
}

/// What is written here is read elsewhere.
fn absolute(path: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    let absolute = path.map(std::path::absolute).transpose();
    absolute.map_err(|error| Failure::Local(format!("the working directory: {error}")))
}

fn list(path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let file = read(path)?;
    output.object(&json!(file), || {
        let rows = file.contexts.iter().map(|(name, context)| {
            let used = if file.current.as_ref() == Some(name) { "in use" } else { "" };
            let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
            [name.clone(), used.to_owned(), context.addr.clone(), shown(&context.token_file).unwrap_or_default()]
        });
        table([text("context"), text("used"), text("addr"), text("token file").spare(1)], rows)
    });
    Ok(())
}

fn take(name: &str, path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut file = read(path)?;
    if name != NONE {
        known(&file, name)?;
    }
    let before = file.current.take();
    file.current = Some(name.to_owned()).filter(|name| name != NONE);
    write(path, &file)?;
    let (before, after) = (before.as_deref().unwrap_or(NONE), file.current.as_deref().unwrap_or(NONE));
    output.object(&json!({"current": after, "before": before}), || format!("in use  {before} → {after}").into());
    Ok(())
}

fn show(name: Option<&str>, path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let file = read(path)?;
    let name = name.or(file.current.as_deref()).unwrap_or(NONE);
    if name == NONE {
        let addr = Address::default().to_string();
        output.object(&json!({"name": NONE, "current": true, "context": {"addr": addr}}), || {
            facts([("context", "default (none is in use)".to_owned()), ("addr", addr.clone())])
        });
        return Ok(());
    }
    let context = known(&file, name)?;
    let current = file.current.as_deref() == Some(name);
    let json = json!({"name": name, "current": current, "context": context});
    output.object(&json, || described(name, &context, current));
    Ok(())
}

fn described(name: &str, context: &Context, current: bool) -> View {
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let named = format!("{name}{}", if current { " (in use)" } else { "" });
    let optional = [
        ("ca", shown(&context.ca)),
        ("client cert", shown(&context.client_cert)),
        ("client key", shown(&context.client_key)),
        ("token file", shown(&context.token_file)),
        ("timeout", context.timeout.clone()),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
    facts([("context", named), ("addr", context.addr.clone())].into_iter().chain(optional))
}

fn remove(name: &str, path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut file = read(path)?;
    known(&file, name)?;
    file.contexts.remove(name);
    let used = file.current.as_deref() == Some(name);
    file.current = file.current.filter(|current| current != name);
    write(path, &file)?;
    output.object(&json!({"removed": name, "wasCurrent": used}), || {
        format!("removed  {name}{}", if used { "  (it was in use: none is now)" } else { "" }).into()
    });
    Ok(())
}

fn known(file: &Contexts, name: &str) -> Result<Context, Failure> {
    let names = || file.contexts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    file.contexts.get(name).cloned().ok_or_else(|| {
        let allowed = if file.contexts.is_empty() { "one that `tollgate context add` made".into() } else { names() };
        Failure::Usage(InputError::new("context", name, allowed))
    })
}

fn read(path: &Path) -> Result<Contexts, Failure> {
    let named = |cause: String| Failure::Local(format!("{}: {cause}", path.display()));
    let text = match File::open(path).and_then(|file| io::read_to_string(io::Read::take(file, FILE_BYTES))) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(named(error.to_string())),
    };
    toml::from_str(&text).map_err(|error| named(error.to_string()))
}

/// The new file takes the place of the old one as a whole.
fn write(path: &Path, contexts: &Contexts) -> Result<(), Failure> {
    let named = |error: io::Error| Failure::Local(format!("{}: {error}", path.display()));
    let text = toml::to_string(contexts).map_err(|error| Failure::Local(error.to_string()))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(OWNER_ENTERS).create(dir).map_err(named)?;
    let fresh = path.with_extension("toml.new");
    let mut out =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&fresh).map_err(named)?;
    out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(named)?;
    fs::rename(&fresh, path).map_err(named)
}
