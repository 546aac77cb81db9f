//! Writes a new app's folder: all of it, or nothing. It is written aside, in the same file system, and moved to its
//! place. Whoever kills it meanwhile finds the folder aside, `.sc-new-` and some letters.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::template::NewFile;
use crate::error::HostError;

/// What the names of folders aside begin with.
const ASIDE: &str = ".sc-new-";

/// Writes the files, has `complete` add to them, and puts all in place. A folder that is there must be empty.
pub(super) fn create<T>(
    app: &Path,
    files: &[NewFile],
    complete: impl FnOnce(&Path) -> Result<T, HostError>,
) -> Result<T, HostError> {
    let failed = |error: io::Error| HostError::NewApp { path: app.to_owned(), reason: error.to_string() };
    // A link that leads nowhere is something, too.
    let is_there = match fs::symlink_metadata(app) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if is_there {
        match fs::read_dir(app).map(|mut entries| entries.next()) {
            Ok(None) => {}
            Ok(Some(entry)) => return Err(not_empty(app, entry.ok().as_ref())),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(failed(error)),
            Err(_) => return Err(not_empty(app, None)),
        }
    }
    let beside = match app.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        _ if is_there => app,
        Some(parent) => parent,
        None => Path::new("."),
    };
    let (aside, made) = write_aside(beside, files).map_err(failed)?;
    let completed = complete(&made)?;
    let placed = if is_there { move_all(&made, app) } else { fs::rename(&made, app) };
    drop(aside);
    placed.map(|()| completed).map_err(|error| match error.kind() {
        // Somebody else was faster.
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
            not_empty(app, None)
        }
        _ => failed(error),
    })
}

/// The refusal, which names something of what is there.
fn not_empty(app: &Path, found: Option<&fs::DirEntry>) -> HostError {
    let found = found.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let help = match found.as_deref().filter(|found| found.starts_with(ASIDE)) {
        Some(left) => format!("{left} is of another `sc-host create`: remove it if that was interrupted"),
        None => "choose another name, or remove what is there".to_owned(),
    };
    let holds = found.map(|found| format!(" (it holds {found})")).unwrap_or_default();
    HostError::NotEmpty { path: app.to_owned(), holds, help }
}

/// The folder aside, which goes when dropped, and the app in it.
fn write_aside(beside: &Path, files: &[NewFile]) -> io::Result<(tempfile::TempDir, PathBuf)> {
    fs::create_dir_all(beside)?;
    let aside = tempfile::Builder::new().prefix(ASIDE).tempdir_in(beside)?;
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

/// Moves all that is in one folder into another, in place of nothing. If that fails, what was moved is removed.
fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut moved = Vec::new();
    let mut move_one = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let place = to.join(entry.file_name());
        take(&place, entry.file_type()?.is_dir())?;
        moved.push(place.clone());
        fs::rename(entry.path(), place)
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

/// Makes an empty folder or file, or fails if the name is taken. A rename that replaces nothing would do as well, but
/// not every file system has it.
fn take(place: &Path, is_folder: bool) -> io::Result<()> {
    if is_folder { fs::create_dir(place) } else { fs::File::create_new(place).map(drop) }
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
    fn what_somebody_writes_meanwhile_stays() {
        for (theirs, contents) in [("sc.toml", "theirs"), ("src", "a file")] {
            let app = tempfile::tempdir().unwrap();
            let meanwhile = |_: &Path| {
                fs::write(app.path().join(theirs), contents).unwrap();
                Ok(())
            };
            let error = create(app.path(), &files(), meanwhile).expect_err("it is refused");
            assert!(matches!(error, HostError::NotEmpty { .. }), "{error}");
            assert_eq!(names(app.path()), [theirs], "nothing of the app is left");
            assert_eq!(fs::read_to_string(app.path().join(theirs)).unwrap(), contents);
        }
    }

    #[test]
    fn an_error_says_what_is_in_the_way() {
        let place = tempfile::tempdir().unwrap();
        let (file, link, left) =
            (place.path().join("file"), place.path().join("link"), place.path().join("left"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        fs::create_dir_all(left.join(".sc-new-abc")).unwrap();
        let refused = |app: &Path| create(app, &files(), |_| Ok(())).expect_err("it is refused").flat();
        let below = refused(&file.join("app"));
        assert!(below.contains("file/app cannot be made: Not a directory"), "{below}");
        assert!(refused(&link).contains("link exists and is not an empty folder"));
        let left = refused(&left);
        assert!(left.contains("it holds .sc-new-abc") && left.contains("if that was interrupted"), "{left}");
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
