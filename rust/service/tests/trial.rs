//! What shuts the process in, tried where this runs.

use std::process::Command;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_evanesce-reconstructor"))
}

#[test]
fn what_must_fail_fails_and_what_must_work_works() {
    let done = program().arg("trial").output().unwrap();
    let said: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    // It cannot do so itself.
    std::fs::remove_dir_all(said["folder"].as_str().unwrap()).unwrap();
    let why = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}: {why}");
    assert_eq!(said["wrong"].as_array().map(Vec::len), Some(0));
    // All 17 of seccomp's, and of Landlock's two those that this kernel has.
    let count = |what: &str| said[what].as_array().unwrap().len();
    assert!(count("refused") >= 17, "{said}");
    assert_eq!(count("refused") + count("unkept"), 19, "{said}");
    assert!(count("unkept") == 0 || count("missing") > 0, "{said}");
    assert_eq!(count("works"), 4, "{said}");
}

#[test]
fn a_folder_that_is_not_whole_is_not_run_and_it_is_said_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = program();
    run.arg("run").arg(folder.path());
    let said = |run: &mut Command| {
        let done = run.output().unwrap();
        assert!(!done.status.success());
        String::from_utf8(done.stderr).unwrap()
    };
    assert!(said(&mut run).contains("reconstructor.toml"));
    let config = "name = \"r\"\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(folder.path().join("reconstructor.toml"), config).unwrap();
    assert!(said(&mut run).contains("quorum.toml"));
    assert!(said(program().arg("jump")).contains("usage"));
}
