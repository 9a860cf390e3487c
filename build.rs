//! Compiles `proto/` without a `protoc` on the machine: protox parses, tonic generates, and the
//! descriptor set is kept beside the generated code for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic_prost_build::{Config, configure};

const FILES: [&str; 5] = [
    "proto/tollgate/v1/gate.proto",
    "proto/tollgate/v1/budget.proto",
    "proto/tollgate/v1/session.proto",
    "proto/tollgate/v1/pool.proto",
    "proto/tollgate/admin/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors: FileDescriptorSet = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    fs::write(&out, descriptors.encode_to_vec())?;
    // Names let the JSON mapping find a message's descriptor by its type.
    let mut names = Config::new();
    names.enable_type_names();
    // Ordered, so that equal messages are read and written alike.
    names.btree_map(["."]);
    // Servers are for the tests of the command and for the echo of the benchmark; ours reads `rpc::table`.
    configure().build_client(true).build_server(true).compile_fds_with_config(descriptors, names)?;
    Ok(())
}
