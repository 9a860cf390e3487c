//! Compiles `proto/` without a `protoc` on the machine: protox parses, tonic generates, and the
//! descriptor set is kept beside the generated code for server reflection. A release also learns the commit
//! that it is built from, for `tollgate --version`. The page is embedded as it is committed, plain and compressed.

use std::{
    env,
    error::Error,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_prost_build::{Config, configure};

/// What the binary is made of, besides the compiler.
const SOURCES: [&str; 6] = ["src", "proto", "web/dist", "build.rs", "Cargo.toml", "Cargo.lock"];

/// What planes call: all that the client needs.
const PLANES: [&str; 4] = [
    "proto/tollgate/v1/gate.proto",
    "proto/tollgate/v1/budget.proto",
    "proto/tollgate/v1/session.proto",
    "proto/tollgate/v1/pool.proto",
];
/// What operators and gateways call.
const OPERATORS: [&str; 6] = [
    "proto/tollgate/admin/v1/control.proto",
    "proto/tollgate/admin/v1/admin.proto",
    "proto/tollgate/admin/v1/usage.proto",
    "proto/tollgate/admin/v1/what_if.proto",
    "proto/tollgate/admin/v1/snapshot.proto",
    "proto/envoy/service/ratelimit/v3/rls.proto",
];
/// Between nodes: not in the descriptors that callers are shown.
const PEER: &str = "proto/tollgate/peer/v1/peer.proto";

/// What `npm run build` makes in `web/`.
const PAGE: &str = "web/dist";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rustc-env=TOLLGATE_VERSION={}", version()?);
    let has_server = env::var_os("CARGO_FEATURE_SERVER").is_some();
    let operators = if has_server { &OPERATORS[..] } else { &[] };
    let descriptors: FileDescriptorSet = protox::compile(PLANES.iter().chain(operators), ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(&out, descriptors.encode_to_vec())?;
    // Names let the JSON mapping find a message's descriptor by its type.
    let mut names = Config::new();
    names.enable_type_names();
    // Ordered, so that equal messages are read and written alike.
    names.btree_map(["."]);
    // Servers are for the tests of the command and for the echo of the benchmark; ours reads `rpc::table`.
    // Written by hand: answers share its texts.
    names.extern_path(".tollgate.v1.Limit", "crate::wire::limit::Limit");
    configure().build_client(true).build_server(has_server).compile_fds_with_config(descriptors, names)?;
    if !has_server {
        return Ok(());
    }
    embed_page(&PathBuf::from(env::var("OUT_DIR")?))?;
    let mut shared = Config::new();
    // What is forwarded is not copied out of what was read.
    shared.bytes(["."]);
    configure()
        .build_client(true)
        .build_server(true)
        .compile_fds_with_config(protox::compile([PEER], ["proto"])?, shared)?;
    Ok(())
}

/// The commit, where there is no checkout: the build of an image has no history.
const COMMIT: &str = "TOLLGATE_COMMIT";

/// The dashboard as it was built from `web/` and committed: a table of its files, each also compressed.
fn embed_page(out: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PAGE}");
    let mut assets: Vec<PathBuf> = fs::read_dir(format!("{PAGE}/assets"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    assets.sort();
    let index = embedded(&PathBuf::from(PAGE).join("index.html"), out)?;
    let files = assets.iter().map(|asset| embedded(asset, out)).collect::<Result<Vec<_>, _>>()?;
    let table = format!("static INDEX: File = {index};\nstatic FILES: &[File] = &[{}];\n", files.join(", "));
    fs::write(out.join("page.rs"), table)?;
    Ok(())
}

/// A file as a value of the table.
fn embedded(file: &Path, out: &Path) -> Result<String, Box<dyn Error>> {
    let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file of the page has no name")?;
    let kind = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return Err(format!("{}: a file of the page is html, js, css or svg", file.display()).into()),
    };
    let (plain, gzip) = (fs::canonicalize(file)?, out.join(format!("{name}.gz")));
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(&fs::read(file)?)?;
    fs::write(&gzip, compressed.finish()?)?;
    let path = format!("/assets/{name}");
    Ok(format!(
        "File {{ path: {path:?}, kind: {kind:?}, plain: include_bytes!({plain:?}), gzip: include_bytes!({gzip:?}) }}"
    ))
}

/// `0.1.0 (1a2b3c4d5e6f)` where a release is built in a checkout, with `-dirty` where a source differs from the
/// commit. In a tarball the commit is what `TOLLGATE_COMMIT` says; without it, and in debug builds, which would be built
/// anew with every commit, there is only the number.
fn version() -> Result<String, Box<dyn Error>> {
    let number = env::var("CARGO_PKG_VERSION")?;
    // In a directory of somebody else's checkout the commit would be theirs.
    let is_ours = git(&["rev-parse", "--show-prefix"]).is_some_and(|prefix| prefix.is_empty());
    println!("cargo:rerun-if-env-changed={COMMIT}");
    if env::var("PROFILE")? != "release" {
        return Ok(number);
    }
    if !is_ours {
        return Ok(named_commit()?.map_or_else(|| number.clone(), |commit| format!("{number} ({commit})")));
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return Ok(number) };
    // The log of HEAD grows with every commit and checkout, on whatever branch.
    let watched = ["HEAD", "logs/HEAD"].iter().filter_map(|name| git(&["rev-parse", "--git-path", name]));
    for path in watched.filter(|path| fs::exists(path).unwrap_or(false)).chain(SOURCES.map(String::from)) {
        println!("cargo:rerun-if-changed={path}");
    }
    let changed = git(&[&["--no-optional-locks", "status", "--porcelain", "--"], SOURCES.as_slice()].concat());
    let dirty = if changed.is_some_and(|changed| !changed.is_empty()) { "-dirty" } else { "" };
    Ok(format!("{number} ({commit}{dirty})"))
}

/// What `TOLLGATE_COMMIT` says, where it says anything.
fn named_commit() -> Result<Option<String>, Box<dyn Error>> {
    let commit = env::var(COMMIT).unwrap_or_default();
    let is_commit = (7..=40).contains(&commit.len()) && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    match commit.as_str() {
        "" => Ok(None),
        _ if is_commit => Ok(Some(commit)),
        _ => Err(format!("{COMMIT} \"{commit}\" is not allowed: 7 to 40 hexadecimal digits of a commit").into()),
    }
}

/// What git says; nothing where there is no git, or no checkout.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
