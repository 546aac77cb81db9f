//! The user that the host goes on as when root starts it: `app.user`. Ports are bound and files of secrets are read before;
//! from there on all of the host is that user's, the master too, so that nothing it does needs care for whom it does it.

use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::{Path, PathBuf};

use nix::unistd::{self, Gid, Group, Uid, geteuid, getgrouplist, setgid, setgroups, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::config::Settings;
use crate::error::HostError;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// As the configuration calls it.
    pub(crate) name: String,
    uid: Uid,
    gid: Gid,
    /// Its other groups.
    groups: Vec<Gid>,
    /// Its home, if it has one.
    pub(crate) home: Option<PathBuf>,
}

impl User {
    /// The user of a name or number, behind a colon perhaps its group: `www`, `www:media`, `1000:1000`.
    ///
    /// # Errors
    /// What is wrong with the text, and how to mend it.
    pub(crate) fn find(text: &str) -> Result<Self, (String, String)> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let unknown = |what: &str, name: &str, add: &str| {
            (
                format!("this machine has no {what} {}", name.escape_debug()),
                format!("correct it, or add it: {add} {name}"),
            )
        };
        let known = match user.parse() {
            Ok(uid) => unistd::User::from_uid(Uid::from_raw(uid)),
            Err(_) => unistd::User::from_name(user),
        };
        let known = known.ok().flatten();
        let uid = match (&known, user.parse()) {
            (Some(known), _) => known.uid,
            (None, Ok(uid)) => Uid::from_raw(uid),
            (None, Err(_)) => return Err(unknown("user", user, "useradd --system")),
        };
        let gid = match (group, &known) {
            (Some(group), _) => match (Group::from_name(group).ok().flatten(), group.parse()) {
                (Some(group), _) => group.gid,
                (None, Ok(gid)) => Gid::from_raw(gid),
                (None, Err(_)) => return Err(unknown("group", group, "groupadd --system")),
            },
            (None, Some(known)) => known.gid,
            (None, None) => {
                let why = format!("the user {uid} has no name here, and so no group");
                return Err((why, format!("say its group as well: {uid}:{uid}")));
            }
        };
        // Whoever says a group wants that one alone.
        let groups = match (&known, group) {
            (Some(known), None) => CString::new(known.name.as_str())
                .ok()
                .and_then(|name| getgrouplist(&name, gid).ok())
                .unwrap_or_else(|| vec![gid]),
            _ => vec![gid],
        };
        let home = known.map(|known| known.dir).filter(|home| home.is_dir());
        Ok(User { name: text.to_owned(), uid, gid, groups, home })
    }

    /// Its number.
    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Has this process, and all that it starts, be this user's for good, and gives it the folders that the host writes to
    /// where they do not exist yet. Must be called while there is one thread only.
    ///
    /// # Errors
    /// When this process is neither root's nor that user's.
    pub(crate) fn take_over(&self, settings: &Settings) -> Result<(), HostError> {
        if geteuid() == self.uid {
            return Ok(());
        }
        if !geteuid().is_root() {
            return Err(HostError::NotRoot { user: self.name.clone() });
        }
        for folder in settings.data_dir.iter().chain(&settings.app.runtime_dir) {
            self.give(folder).map_err(HostError::os("making a folder for app.user"))?;
        }
        let become_it = || -> io::Result<()> {
            setgroups(&self.groups)?;
            setgid(self.gid)?;
            setuid(self.uid)?;
            if !self.uid.is_root() && setuid(Uid::from_raw(0)).is_ok() {
                return Err(io::Error::other("root can be had again"));
            }
            // Children are given compiled components by a path through this process, which the kernel hides from now on.
            Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
        };
        become_it().map_err(HostError::os("becoming app.user"))
    }

    /// Makes a folder that is this user's alone. One that exists stays as it is.
    fn give(&self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            std::fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(folder)?;
        chown(folder, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::find("root").expect("root");
        assert_eq!((root.uid(), root.gid.as_raw()), (0, 0));
        assert!(root.groups.contains(&Gid::from_raw(0)));
        assert_eq!(User::find("0").expect("root").uid, root.uid);
        let numbers = User::find("4294900000:77").expect("numbers need no name");
        assert_eq!((numbers.uid(), numbers.gid.as_raw()), (4_294_900_000, 77));
        assert_eq!(numbers.groups, [Gid::from_raw(77)]);
    }

    #[test]
    fn what_is_not_there_is_named_with_how_to_add_it() {
        for (text, why, help) in [
            ("no-such-user", "no user no-such-user", "useradd --system no-such-user"),
            ("root:no-such-group", "no group no-such-group", "groupadd"),
            ("4294900000", "has no name here", "4294900000:4294900000"),
            ("", "no user", "useradd"),
        ] {
            let (said, mend) = User::find(text).expect_err(text);
            assert!(said.contains(why) && mend.contains(help), "{text}: {said}; {mend}");
        }
    }
}
