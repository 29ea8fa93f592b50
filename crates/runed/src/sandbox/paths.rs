//! What of the machine every agent may read. The same list makes the root and the Landlock rules.

/// Programs and libraries. A link is made again as a link.
pub(super) const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// Where agents find their skills, where a run has a root of its own.
pub(super) const SKILLS: &str = "/workspace";

/// Whether a program is among those that every agent may read.
pub(super) fn is_system(program: &std::path::Path) -> bool {
    SYSTEM.iter().any(|system| program.starts_with(system))
}

/// Configuration that programs and their libraries look for. No directory that may hold a private key: of `/etc/ssl`
/// only the public half.
pub(super) const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
];

/// Devices without memory of their own.
pub(super) const DEVICES: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
