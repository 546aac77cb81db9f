//! Files of keys: the secret that signs tokens, and the public keys of others.

use std::io::ErrorKind;
use std::path::Path;

use super::Settings;
use super::files::Files;
use super::problem::Problem;
use super::raw::Layers;

/// Largest file in bytes.
const FILE_MAX: u64 = 64 * 1024;
/// Public keys that one host verifies with. They travel to each worker in one message.
const PUBLIC_MAX: usize = 16;
/// Largest public key in bytes: RSA with 16,384 bits takes 2.9 KiB.
const PUBLIC_KEY_MAX: usize = 4 * 1024;

pub(super) const SECRET_HELP: &str =
    "a key is one line of text; make one with: openssl rand -hex 32 > auth.key";
const PUBLIC_HELP: &str =
    "a file holds one key; get it with: openssl pkey -in private.pem -pubout > public.pem";

/// Reads all that the configuration names; notes what is wrong with them.
pub(super) fn read(settings: &mut Settings, layers: &mut Layers) {
    if let Some(file) = settings.key_file.clone() {
        match secret(&layers.files, &file, 1) {
            Ok(key) => settings.worker.auth.key = key,
            Err(wrong) => refuse(layers, "auth.key_file", wrong),
        }
    }
    let files = settings.public_key_files.clone();
    if files.len() > PUBLIC_MAX {
        let why = format!("`auth.public_keys` may name {PUBLIC_MAX} files");
        return refuse(layers, "auth.public_keys", Wrong { why, help: Some("give old keys up".to_owned()) });
    }
    for file in files {
        match public(&layers.files, &file) {
            Ok(key) => settings.worker.auth.public_keys.push(key),
            Err(wrong) => refuse(layers, "auth.public_keys", wrong),
        }
    }
}

/// What is wrong with a file, and how to mend it.
pub(super) struct Wrong {
    pub(super) why: String,
    pub(super) help: Option<String>,
}

pub(super) fn refuse(layers: &mut Layers, key: &str, Wrong { why, help }: Wrong) {
    let problem = Problem::new(&why, &why, layers.origin(key));
    layers.problems.push(problem.of_what_it_names().maybe_help(help));
}

/// A secret of one line, of at least so many bytes. Only where there is none yet, the help says how to make one: it
/// would take the place of another.
pub(super) fn secret(files: &Files, file: &Path, least: usize) -> Result<String, Wrong> {
    let text = text(files, file, SECRET_HELP)?;
    let key = text.trim_end_matches(['\r', '\n']);
    let what = match key.len() {
        _ if key.trim().is_empty() => "is empty",
        bytes if bytes < least => "holds a key that is too short",
        _ => return Ok(key.to_owned()),
    };
    let why = format!("the key file {} {what}", file.display());
    Err(Wrong { why, help: Some(SECRET_HELP.to_owned()) })
}

fn public(files: &Files, file: &Path) -> Result<String, Wrong> {
    let text = text(files, file, PUBLIC_HELP)?;
    let checked = match text.len() > PUBLIC_KEY_MAX {
        true => Err("is larger than a public key".to_owned()),
        false => sc_worker::check_public_key(&text),
    };
    match checked {
        Ok(()) => Ok(text),
        Err(what) => Err(Wrong {
            why: format!("the key file {} {what}", file.display()),
            help: Some(PUBLIC_HELP.to_owned()),
        }),
    }
}

/// A file's text. `missing` helps who has none.
fn text(files: &Files, file: &Path, missing: &str) -> Result<String, Wrong> {
    let wrong = |what: &str, help: Option<String>| Wrong {
        why: format!("the key file {} {what}", file.display()),
        help,
    };
    let read = files
        .read(file, FILE_MAX)
        .map_err(|error| wrong(&format!("cannot be read: {error}"), mend(error.kind(), file, missing)))?;
    let bytes = read.ok_or_else(|| wrong("is larger than 64 KiB", None))?;
    String::from_utf8(bytes).map_err(|_| wrong("is not text", None))
}

/// How to mend that a file cannot be read.
fn mend(why: ErrorKind, file: &Path, missing: &str) -> Option<String> {
    match why {
        ErrorKind::PermissionDenied => Some(denied(file)),
        ErrorKind::NotFound => Some(missing.to_owned()),
        _ => None,
    }
}

/// Who lacks the right to read it.
fn denied(file: &Path) -> String {
    let uid = nix::unistd::geteuid();
    let known = nix::unistd::User::from_uid(uid).ok().flatten();
    let user = known.map_or_else(|| uid.to_string(), |user| user.name);
    format!(
        "the user {user} may not read it, or not enter a folder on the way: allow it, with chown or chmod on {}, or start \
         the host as a user who may",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It would end all tokens.
    #[test]
    fn a_key_that_may_not_be_read_is_not_to_be_made_anew() {
        let help = |why| mend(why, Path::new("a.key"), SECRET_HELP);
        let denied = help(ErrorKind::PermissionDenied).expect("a help");
        assert!(denied.contains("may not read it") && !denied.contains("openssl"), "{denied}");
        assert_eq!(help(ErrorKind::NotFound).as_deref(), Some(SECRET_HELP));
        assert_eq!(help(ErrorKind::IsADirectory), None);
    }
}
