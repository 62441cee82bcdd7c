//! Link arguments of the package's own programs, tests and benches.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Lua's strings are found by `src/script/intern.rs`. Without this, as in programs that link the
    // library from elsewhere, Lua finds them as it always did.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-link-arg=-Wl,--wrap=luaS_newlstr");
    }
}
