//! Compiles the libvpx shim and links libvpx statically, so that the finished module needs no shared library of it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/vpx_shim.c");
    println!("cargo::rerun-if-env-changed=VPX_LIB_DIR");
    println!("cargo::rerun-if-env-changed=VPX_INCLUDE_DIR");
    let mut build = cc::Build::new();
    let Some(directory) = archive_directory(&build) else {
        println!(
            "cargo::error=libvpx.a was not found. Install it (Debian and Ubuntu: apt-get install libvpx-dev), or set \
             VPX_LIB_DIR and VPX_INCLUDE_DIR to a build made with --enable-pic --enable-static"
        );
        return;
    };
    if let Some(include) = env::var_os("VPX_INCLUDE_DIR") {
        build.include(include);
    }
    build.file("src/vpx_shim.c").warnings(true).extra_warnings(true).opt_level(2).compile("greenroom_vpx_shim");
    println!("cargo::rustc-link-search=native={}", directory.display());
    println!("cargo::rustc-link-lib=static=vpx");
    println!("cargo::rustc-link-lib=m");
}

/// Where libvpx.a lies: said by the environment, or known to the C compiler.
fn archive_directory(build: &cc::Build) -> Option<PathBuf> {
    if let Some(directory) = env::var_os("VPX_LIB_DIR").map(PathBuf::from) {
        return directory.join("libvpx.a").is_file().then_some(directory);
    }
    let compiler = build.get_compiler();
    let output = Command::new(compiler.path()).arg("-print-file-name=libvpx.a").output().ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    let path = Path::new(answer.trim());
    // An unknown name comes back as it was asked for, without a folder.
    path.is_absolute().then(|| path.parent().map(Path::to_path_buf)).flatten()
}
