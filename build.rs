//! Gives the shared library its SONAME. Nothing else is decided at build time.

/// Equal to MC_ABI_VERSION in src/ffi/version.rs; tests/abi/soname.sh compares the two.
const ABI: u32 = 0;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmooncake.so.{ABI}");
}
