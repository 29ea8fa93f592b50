//! Making an instance.

use crate::{Instance, command, refusal};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    process::{Child, Stdio},
};

#[test]
fn created_by_many_at_once_it_is_one_and_whole() {
    for _ in 0..5 {
        let instance = Instance::new();
        let create = |_| {
            let mut create = instance.command(&["create", "demo"]);
            create.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let all: Vec<Child> = (0..8).map(create).collect();
        let mut said = BTreeSet::new();
        for child in all {
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            said.insert(String::from_utf8_lossy(&out.stdout).contains("CHANNEL_SECRET"));
        }
        assert_eq!(said.len(), 2, "one generated the secrets, and the others did not");
        let text = fs::read_to_string(instance.data.join(".env")).unwrap();
        assert_eq!(text.matches("CHANNEL_SECRET=").count(), 1);
    }
}

#[test]
fn a_directory_that_holds_other_things_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open.clone()).unwrap();
    fs::write(dir.path().join("precious"), "mine").unwrap();
    let (code, line) = refusal(&command(dir.path(), &["create", "demo"]).output().unwrap());
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("--data-dir"), "{line}");
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "others may still enter it");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was put there");

    // An empty one, as an operator or a volume makes it, becomes the instance's, and its alone.
    fs::remove_file(dir.path().join("precious")).unwrap();
    assert!(command(dir.path(), &["create", "demo"]).status().unwrap().success());
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // And so it stays, when somebody opens it.
    fs::set_permissions(dir.path(), open).unwrap();
    assert!(command(dir.path(), &["create", "demo"]).status().unwrap().success());
    let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_directory_is_one_instances() {
    let instance = Instance::made();
    let before = fs::read_to_string(instance.data.join("settings.env")).unwrap();
    let (code, line) = instance.refused(&["create", "other"]);
    assert_eq!(code, 73, "{line}");
    assert!(line.contains("the instance demo") && line.contains("--data-dir"), "{line}");
    assert_eq!(fs::read_to_string(instance.data.join("settings.env")).unwrap(), before);
    assert!(instance.run(&["create", "demo"]).status.success(), "its own name is good");
}
