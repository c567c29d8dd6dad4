//! The software element's file.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::LazyLock;

use evanesce_element::Element;
use evanesce_element::software::SoftwareElement;
use evanesce_fuzz::{bounded, refusal_is_printable};
use libfuzzer_sys::fuzz_target;

/// A file without a name, reached through its descriptor.
static FILE: LazyLock<(File, PathBuf)> = LazyLock::new(|| {
    // In memory where that can be had: a disk's file system is a hundred times slower.
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    let path = folder.join(format!("evanesce-fuzz-roots-{}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .expect("a temporary file");
    std::fs::remove_file(&path).expect("its name can go");
    file.set_permissions(PermissionsExt::from_mode(0o600))
        .expect("its mode");
    let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, by_descriptor)
});

fuzz_target!(|data: &[u8]| {
    let (mut file, path) = (&FILE.0, &FILE.1);
    file.set_len(0).expect("truncated");
    file.rewind().expect("rewound");
    file.write_all(data).expect("written");
    let opened = bounded(data.len(), || SoftwareElement::open(path, None));
    let Some(element) = refusal_is_printable(opened) else {
        return;
    };
    let epochs = element.epochs();
    assert!(epochs.is_sorted_by(|a, b| a < b));
    assert_eq!(epochs.last(), Some(&element.current()));
    let mut y = [0; 32];
    element
        .evaluate(element.current(), &[0; 32], &mut y)
        .expect("a root that is held");
});
