//! Files of keys: the secret that signs tokens, and the public keys of others.

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
        match secret(&layers.files, &file) {
            Ok(key) => settings.worker.auth.key = key,
            Err(why) => refuse(layers, "auth.key_file", &why, SECRET_HELP),
        }
    }
    let files = settings.public_key_files.clone();
    if files.len() > PUBLIC_MAX {
        let why = format!("`auth.public_keys` may name {PUBLIC_MAX} files");
        return refuse(layers, "auth.public_keys", &why, "give old keys up");
    }
    for file in files {
        match public(&layers.files, &file) {
            Ok(key) => settings.worker.auth.public_keys.push(key),
            Err(why) => refuse(layers, "auth.public_keys", &why, PUBLIC_HELP),
        }
    }
}

fn refuse(layers: &mut Layers, key: &str, why: &str, help: &str) {
    let problem = Problem::new(why, why, layers.origin(key));
    layers.problems.push(problem.of_what_it_names().help(help));
}

/// A secret of one line.
pub(super) fn secret(files: &Files, file: &Path) -> Result<String, String> {
    let text = text(files, file)?;
    let key = text.trim_end_matches(['\r', '\n']);
    if key.trim().is_empty() {
        return Err(format!("the key file {} is empty", file.display()));
    }
    Ok(key.to_owned())
}

fn public(files: &Files, file: &Path) -> Result<String, String> {
    let text = text(files, file)?;
    if text.len() > PUBLIC_KEY_MAX {
        return Err(format!("the key file {} is larger than a public key", file.display()));
    }
    sc_worker::check_public_key(&text).map_err(|why| format!("the key file {} {why}", file.display()))?;
    Ok(text)
}

fn text(files: &Files, file: &Path) -> Result<String, String> {
    let read = files.read(file, FILE_MAX);
    let read = read.map_err(|error| format!("the key file {} cannot be read: {error}", file.display()))?;
    let bytes = read.ok_or_else(|| format!("the key file {} is larger than 64 KiB", file.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("the key file {} is not text", file.display()))
}
