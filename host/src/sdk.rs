//! The SDK that apps are built with. The binary carries its sources and lays them out in the user's cache, a folder
//! for each version; an app's own folder has a link to that, which is not the app's source: `build` and `dev` make it
//! again where it is missing, on another machine for instance, and lead it elsewhere when they are of another version.
//!
//! Files are whole or not there: a folder is written aside and renamed, or exchanged for one that somebody changed.
//! Price: each build reads the files, half a megabyte, to compare them. A version that no build has used for a month
//! goes when another one is laid out; the next build that wants it lays it out again.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sc_guest::{cache_dir, content_hash};

use crate::carried::{File, MANIFEST, SDK};
use crate::error::HostError;

/// The version of this host and of the SDK that it carries.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Characters of the hash by which builds of one version differ.
const HASH: usize = 12;
/// How long a version stays that no build uses.
const UNUSED_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Lays the SDK out and leads the link to it. Where it lies, if anything had to be done.
pub(crate) fn lay(link: &Path) -> Result<Option<PathBuf>, HostError> {
    let root = cache_dir::path();
    let failed = |path: &Path, reason: String| HostError::Sdk { path: path.to_owned(), reason };
    cache_dir::claim(&root).map_err(|reason| failed(&root, reason))?;
    let (folder, written) = lay_in(&root.join("sdk")).map_err(|error| failed(&root, error.to_string()))?;
    let linked = lead(link, &folder).map_err(|error| failed(link, error.to_string()))?;
    Ok((written || linked).then_some(folder))
}

/// The SDK's folder among those of other versions, and whether it had to be written.
fn lay_in(sdks: &Path) -> io::Result<(PathBuf, bool)> {
    let hash = hash();
    let folder = sdks.join(format!("{VERSION}-{hash}"));
    let files = files(&hash);
    if is_whole(&folder, &files) {
        // Its time says when it was used last. Without that it is laid out again one day.
        let _ = fs::File::open(&folder).and_then(|folder| folder.set_modified(SystemTime::now()));
        return Ok((folder, false));
    }
    fs::create_dir_all(sdks)?;
    prune(sdks);
    let aside = tempfile::Builder::new().prefix(".new-").tempdir_in(sdks)?;
    let new = aside.path().join("sdk");
    for (path, contents) in &files {
        write(&new.join(path), contents)?;
    }
    // What is changed goes with the folder aside. If another process was faster, its folder is as good.
    let placed = match folder.exists() {
        true => renameat_with(CWD, &new, CWD, &folder, RenameFlags::EXCHANGE).map_err(io::Error::from),
        false => fs::rename(&new, &folder),
    };
    match placed {
        Err(_) if is_whole(&folder, &files) => Ok((folder, true)),
        placed => placed.map(|()| (folder, true)),
    }
}

/// Removes what was not used for long, also what somebody who was interrupted left aside. What cannot be removed
/// stays.
fn prune(sdks: &Path) {
    for entry in fs::read_dir(sdks).into_iter().flatten().flatten() {
        let used = entry.metadata().and_then(|metadata| metadata.modified());
        if used.is_ok_and(|used| used.elapsed().is_ok_and(|unused| unused > UNUSED_MAX)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_whole(folder: &Path, files: &[(&str, Cow<'static, [u8]>)]) -> bool {
    files.iter().all(|(path, contents)| fs::read(folder.join(path)).is_ok_and(|found| found == **contents))
}

/// Whoever follows a name in an app to the SDK is not to change it there.
fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, contents)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o444))
}

/// Has the link lead to the folder. Whether it did not. A folder in its place is the app's own SDK, and stays.
fn lead(link: &Path, folder: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_dir() => return Ok(false),
        Ok(found) if !found.is_symlink() => {
            return Err(io::Error::other("a file is in its place: remove it"));
        }
        Ok(_) if fs::read_link(link)? == folder => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let above = link.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(above)?;
    let aside = tempfile::Builder::new().prefix(".sc-new-").tempdir_in(above)?;
    let new = aside.path().join("link");
    symlink(folder, &new)?;
    fs::rename(&new, link)?;
    Ok(true)
}

/// All that is laid out. The version names the contents, so that cargo takes no SDK for another.
fn files(hash: &str) -> Vec<(&'static str, Cow<'static, [u8]>)> {
    let manifest = MANIFEST.iter().map(|(path, contents)| {
        let plain = format!("\nversion = \"{VERSION}\"\n");
        let exact = format!("\nversion = \"{VERSION}+{hash}\"\n");
        let manifest = String::from_utf8_lossy(contents).replacen(&plain, &exact, 1);
        (*path, Cow::Owned(manifest.into_bytes()))
    });
    manifest.chain(SDK.iter().map(|(path, contents)| (*path, Cow::Borrowed(*contents)))).collect()
}

fn hash() -> String {
    let put = |mut all: Vec<u8>, (path, contents): &File| {
        all.extend_from_slice(path.as_bytes());
        all.extend_from_slice(&contents.len().to_be_bytes());
        all.extend_from_slice(contents);
        all
    };
    let mut hash = content_hash(&MANIFEST.iter().chain(SDK).fold(Vec::new(), put));
    hash.truncate(HASH);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(sdks: &Path) -> (PathBuf, bool) {
        lay_in(sdks).unwrap()
    }

    #[test]
    fn what_is_changed_or_missing_is_mended() {
        let sdks = tempfile::tempdir().unwrap();
        let (folder, written) = laid(sdks.path());
        assert!(written);
        assert_eq!(laid(sdks.path()), (folder.clone(), false));
        let source = folder.join("sdk/rust/src/lib.rs");
        for damage in [
            &(|| fs::remove_file(&source)) as &dyn Fn() -> io::Result<()>,
            &|| fs::remove_file(&source).and_then(|()| fs::write(&source, "torn")),
            &|| fs::remove_dir_all(folder.join("wit")),
            &|| fs::remove_dir_all(&folder),
            &|| fs::remove_dir_all(&folder).and_then(|()| fs::write(&folder, "a file")),
        ] {
            damage().unwrap();
            assert_eq!(laid(sdks.path()), (folder.clone(), true));
            assert_eq!(laid(sdks.path()), (folder.clone(), false));
        }
        let left: Vec<_> = fs::read_dir(sdks.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [folder], "nothing is left aside");
    }

    #[test]
    fn what_no_build_uses_goes() {
        let sdks = tempfile::tempdir().unwrap();
        let is_unused_for = |path: &Path, days: u64| {
            let then = SystemTime::now() - Duration::from_secs(days * 24 * 3_600);
            fs::File::open(path).unwrap().set_modified(then).unwrap();
        };
        let (folder, _) = laid(sdks.path());
        let [old, young, aside] =
            ["0.0.1-old", "0.0.1-young", ".new-left"].map(|name| sdks.path().join(name));
        for (path, days) in [(&old, 31), (&young, 29), (&aside, 31)] {
            fs::create_dir_all(path.join("sdk")).unwrap();
            is_unused_for(path, days);
        }
        is_unused_for(&folder, 31);
        assert_eq!(laid(sdks.path()), (folder.clone(), false));
        assert!(old.exists(), "as long as nothing is written");
        let used = folder.metadata().unwrap().modified().unwrap();
        assert!(used.elapsed().unwrap() < UNUSED_MAX, "it was used just now");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(laid(sdks.path()), (folder.clone(), true));
        assert_eq!([&folder, &old, &young, &aside].map(|path| path.exists()), [true, false, true, false]);
    }

    #[test]
    fn several_at_once_leave_it_whole() {
        let sdks = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| laid(sdks.path()));
            }
        });
        let (folder, written) = laid(sdks.path());
        assert!(!written && is_whole(&folder, &files(&hash())));
    }

    #[test]
    fn it_is_a_workspace_without_tests() {
        let hash = hash();
        let files = files(&hash);
        let (_, manifest) = files.iter().find(|(path, _)| *path == "Cargo.toml").unwrap();
        let manifest = std::str::from_utf8(manifest).unwrap();
        assert!(manifest.contains(&format!("version = \"{VERSION}+{hash}\"")), "{manifest}");
        let manifest: toml::Table = manifest.parse().unwrap();
        let workspace = &manifest["workspace"];
        assert_eq!(workspace["members"].as_array().unwrap().len(), 4);
        assert!(workspace["dependencies"].get("tokio").is_none(), "only what the SDK takes");
        assert!(files.iter().any(|(path, _)| *path == "wit/world.wit"));
        assert!(!files.iter().any(|(path, _)| path.contains("tests") || path.contains("target")));
    }

    #[test]
    fn a_link_is_led_and_a_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (link, one, two) =
            (folder.path().join("app/.sc"), folder.path().join("one"), folder.path().join("two"));
        assert!(lead(&link, &one).unwrap());
        assert!(!lead(&link, &one).unwrap());
        assert!(lead(&link, &two).unwrap(), "also when it leads nowhere");
        assert_eq!(fs::read_link(&link).unwrap(), two);
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert!(!lead(&link, &one).unwrap());
        fs::remove_dir(&link).unwrap();
        fs::write(&link, "").unwrap();
        assert!(lead(&link, &one).is_err());
    }
}
