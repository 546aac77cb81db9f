//! Files that are no controllers, and what `sc-host check` says of them.

use std::os::unix::fs::PermissionsExt as _;

use sc_guest::{Cache, GuestError, inspect};

use crate::component;

fn bytes(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn a_file_that_is_no_component_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for (file, advice) in [
        (b"hello, world".to_vec(), "not a WebAssembly"),
        (Vec::new(), "not a WebAssembly"),
        (b"(component)".to_vec(), "not a WebAssembly"),
        (bytes("(module)"), "wasm32-wasip2"),
    ] {
        for error in [cache.compile(&file).unwrap_err(), inspect(&file).unwrap_err()] {
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}

#[test]
fn a_component_of_another_world_is_named() {
    let found = inspect(&bytes(
        "(component (core module $m) (instance $i) (export \"wasi:cli/run@0.2.0\" (instance $i)))",
    ))
    .unwrap();
    assert!(!found.is_usable());
    let told = found.problems.join("\n");
    assert!(told.contains("wasi:cli/run@0.2.0") && told.contains("messages"), "{told}");
}

#[test]
fn every_import_that_is_missing_is_named() {
    let text = r#"(component
      (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func))))
      (import "example:kv/store@1.0.0" (instance (export "get" (func))))
      (import "socketcluster:controller/sockets@0.1.0" (instance (export "shout" (func)) (export "whisper" (func))))
      (core module $m (func (export "f") (param i32)))
      (core instance $m (instantiate $m))
      (func $on-gap (param "store" u32) (canon lift (core func $m "f")))
      (instance (export "socketcluster:controller/gaps@0.1.0") (export "on-gap" (func $on-gap))))"#;
    let found = inspect(&bytes(text)).unwrap();
    let told = found.problems.join("\n");
    for name in ["wasi:http/outgoing-handler", "example:kv/store", "shout", "whisper"] {
        assert!(told.contains(name), "{name} in: {told}");
    }
    assert_eq!(found.events, ["gaps"]);
}

#[test]
fn an_export_with_another_signature_is_named() {
    let text = r#"(component
      (core module $m (func (export "f") (param i64)))
      (core instance $m (instantiate $m))
      (func $on-gap (param "store" u64) (canon lift (core func $m "f")))
      (instance (export "socketcluster:controller/gaps@0.1.0") (export "on-gap" (func $on-gap))))"#;
    let told = inspect(&bytes(text)).unwrap().problems.join("\n");
    assert!(told.contains("on-gap"), "{told}");
}

#[test]
fn an_import_with_another_signature_is_named() {
    let text = r#"(component
      (import "socketcluster:controller/timers@0.1.0" (instance (export "cancel" (func (param "timer" u32)))))
      (core module $m (func (export "f") (param i32)))
      (core instance $m (instantiate $m))
      (func $on-gap (param "store" u32) (canon lift (core func $m "f")))
      (instance (export "socketcluster:controller/gaps@0.1.0") (export "on-gap" (func $on-gap))))"#;
    let told = inspect(&bytes(text)).unwrap().problems.join("\n");
    assert!(told.contains("timers") && told.contains("cancel"), "{told}");
}

#[test]
fn an_async_component_gets_a_hint() {
    let text = r#"(component
      (core module $m (func (export "f") (param i32) (result i32) i32.const 0)
        (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
      (core instance $m (instantiate $m))
      (func $on-gap async (param "store" u32)
        (canon lift (core func $m "f") async (callback (core func $m "cb"))))
      (instance (export "socketcluster:controller/gaps@0.1.0") (export "on-gap" (func $on-gap))))"#;
    let error = inspect(&bytes(text)).unwrap_err();
    assert!(error.to_string().contains("--sync"), "{error}");
}

#[test]
fn a_good_component_is_usable() {
    let found = inspect(&component::echo()).unwrap();
    assert_eq!(found.problems, [] as [String; 0]);
    assert_eq!(found.events, ["messages", "timer-events"]);
    assert!(found.imports.iter().any(|name| name == "socketcluster:controller/sockets@0.1.0"));
}

#[test]
fn the_caches_folder_is_its_owners_alone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/b");
    Cache::open(&folder).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    Cache::open(&folder).unwrap();
    assert_eq!(mode(&folder), 0o700);
    if rustix::process::geteuid().is_root() {
        let foreign = parent.path().join("foreign");
        std::fs::create_dir(&foreign).unwrap();
        std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
        assert!(matches!(Cache::open(&foreign), Err(GuestError::Cache { .. })));
        let link = parent.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        assert!(Cache::open(&link).is_err(), "another user's link to a folder of ours");
    }
}
