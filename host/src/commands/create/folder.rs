//! Writes a new app's folder: all of it, or nothing. It is written aside, in the same file system, and moved to its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::template::NewFile;
use crate::error::HostError;

/// Writes the files, has `complete` add to them, and puts all in place. A folder that is there must be empty.
pub(super) fn create<T>(
    app: &Path,
    files: &[NewFile],
    complete: impl FnOnce(&Path) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let failed = HostError::os("writing the app's folder");
    let is_there = match fs::read_dir(app).map(|mut entries| entries.next().is_none()) {
        Ok(true) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) if error.kind() != io::ErrorKind::NotADirectory => return Err(failed(error)),
        Ok(false) | Err(_) => return Err(HostError::NotEmpty { path: app.to_owned() }),
    };
    let beside = match app.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        _ if is_there => app,
        Some(parent) => parent,
        None => Path::new("."),
    };
    let written = write_aside(beside, files);
    let (aside, made) = match written {
        Ok(written) => written,
        Err(error) => return Err(failed(error)),
    };
    let completed = complete(&made)?;
    let placed = if is_there { move_all(&made, app) } else { fs::rename(&made, app) };
    drop(aside);
    match placed {
        Ok(()) => Ok(completed),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            Err(HostError::NotEmpty { path: app.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

/// The folder aside, which goes when dropped, and the app in it.
fn write_aside(beside: &Path, files: &[NewFile]) -> io::Result<(tempfile::TempDir, PathBuf)> {
    fs::create_dir_all(beside)?;
    let aside = tempfile::Builder::new().prefix(".sc-new-").tempdir_in(beside)?;
    let made = aside.path().join("app");
    for (path, contents) in files {
        let path = made.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, contents)?;
    }
    Ok((aside, made))
}

/// Moves all that is in one folder into another. If that fails, what was moved is removed.
fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    let mut move_one = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let place = to.join(entry.file_name());
        fs::rename(entry.path(), &place)?;
        moved.push(place);
        Ok(())
    };
    let done = fs::read_dir(from).and_then(|mut entries| entries.try_for_each(&mut move_one));
    if done.is_err() {
        for place in moved {
            let _ = if place.is_dir() && !place.is_symlink() {
                fs::remove_dir_all(place)
            } else {
                fs::remove_file(place)
            };
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn files() -> Vec<NewFile> {
        vec![("sc.toml", b"[app]".to_vec()), ("src/lib.rs", Vec::new())]
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_made_or_filled() {
        let place = tempfile::tempdir().unwrap();
        let (new, deep, empty) =
            (place.path().join("new"), place.path().join("a/b/deep"), place.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        for app in [&new, &deep, &empty] {
            create(app, &files(), |_| Ok(())).unwrap();
            assert_eq!(names(app), ["sc.toml", "src"]);
            assert_eq!(names(&app.join("src")), ["lib.rs"]);
        }
        assert_eq!(names(place.path()), ["a", "empty", "new"]);
    }

    #[test]
    fn what_is_there_stays() {
        let place = tempfile::tempdir().unwrap();
        let (full, file) = (place.path().join("full"), place.path().join("file"));
        fs::create_dir(&full).unwrap();
        fs::write(full.join(".git"), "mine").unwrap();
        fs::write(&file, "mine").unwrap();
        for app in [&full, &file] {
            let error = create(app, &files(), |_| Ok(())).expect_err("it is refused");
            assert_eq!(error.exit(), Exit::CannotCreate);
        }
        assert_eq!(
            (names(&full), names(place.path())),
            (vec![".git".to_owned()], vec!["file".to_owned(), "full".to_owned()])
        );
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (new, empty) = (place.path().join("new"), place.path().join("empty"));
        fs::create_dir(&empty).unwrap();
        for app in [&new, &empty] {
            let failed = create(app, &files(), |_| Err::<(), _>(HostError::Interrupted));
            assert!(failed.is_err());
        }
        assert_eq!((names(place.path()), names(&empty)), (vec!["empty".to_owned()], Vec::new()));
    }
}
