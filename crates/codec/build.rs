//! Compiles the libvpx shim and links libvpx and the C++ library statically, so that the finished module needs no
//! shared library but the C library's own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/vpx_shim.c");
    println!("cargo::rerun-if-env-changed=VPX_LIB_DIR");
    println!("cargo::rerun-if-env-changed=VPX_INCLUDE_DIR");
    let mut build = cc::Build::new();
    let Some(directory) = vpx_directory(&build) else {
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
    link_cpp_library_statically();
}

/// Where libvpx.a lies: said by the environment, or known to the C compiler.
fn vpx_directory(build: &cc::Build) -> Option<PathBuf> {
    if let Some(directory) = env::var_os("VPX_LIB_DIR").map(PathBuf::from) {
        return directory.join("libvpx.a").is_file().then_some(directory);
    }
    find_archive(build, "libvpx.a")?.parent().map(Path::to_path_buf)
}

/// openh264 is C++ and its build asks the linker for `stdc++`. In a folder that holds nothing but the archive, which is
/// searched before the compiler's own, the linker finds that. Elsewhere than on Linux the shared one is always there.
fn link_cpp_library_statically() {
    let (Some(out), Ok("linux")) = (env::var_os("OUT_DIR"), env::var("CARGO_CFG_TARGET_OS").as_deref()) else { return };
    let folder = PathBuf::from(out).join("static");
    let copied = find_archive(cc::Build::new().cpp(true), "libstdc++.a").is_some_and(|archive| {
        fs::create_dir_all(&folder).is_ok() && fs::copy(archive, folder.join("libstdc++.a")).is_ok()
    });
    if copied {
        println!("cargo::rustc-link-search=native={}", folder.display());
    }
}

fn find_archive(build: &cc::Build, name: &str) -> Option<PathBuf> {
    let output = Command::new(build.get_compiler().path()).arg(format!("-print-file-name={name}")).output().ok()?;
    let answer = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    // An unknown name comes back as it was asked for, without a folder.
    answer.is_absolute().then_some(answer)
}
