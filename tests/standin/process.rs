//! The stand-in for Autumn as a process of its own, for tests in other languages. It prints its
//! address as its first line and ends when its standard input does, so it never outlives a test.

#[path = "mod.rs"]
mod standin;

use tokio::io::AsyncReadExt;

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout)]
async fn main() {
    let standin = standin::Standin::start().await;
    println!("{}", standin.base_url());
    let mut nothing = Vec::new();
    _ = tokio::io::stdin().read_to_end(&mut nothing).await;
}
