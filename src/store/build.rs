//! A new migration file must reach the binary: cargo does not see by itself that the schema is compiled in.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
